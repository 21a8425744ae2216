"""The door for administrators: pages and forms in HTML. What a form carries is judged in `rules`, not here."""

from flask import Flask


def init_app(app: Flask) -> None:
    """Give `app` the pages and what they are rendered with."""
    from users.pages import (  # noqa: F401  (their routes hang on the blueprint)
        account,
        audit,
        docs,
        guards,
        keys,
        setup,
        user_actions,
        users,
        verify,
    )

    docs.init_app(app)
    guards.init_app(app)
