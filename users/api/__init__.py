"""The door for programs: JSON under /v1. A view parses, validates, acts and responds. No rule and no query is here."""

from flask import Flask

from users.api import (  # noqa: F401  (imported for their routes)
    authentication,
    batches,
    exports,
    import_jobs,
    password_links,
    user_changes,
    users,
)


def init_app(app: Flask) -> None:
    """Give `app` the routes under /v1 and the limits of the callers' keys."""
    authentication.init_app(app)
    users.init_app(app)
