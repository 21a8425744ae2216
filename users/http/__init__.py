"""What both web doors share: error responses, request ids, headers, session cookie, CSRF, URLs, health probes."""

from flask import Flask

from users.http import error_responses, health, request_hooks, site_files  # noqa: F401  (the import registers routes)


def init_app(app: Flask) -> None:
    """Give every response of `app` its request id and headers, and every error its response."""
    request_hooks.init_app(app)
    error_responses.init_app(app)
