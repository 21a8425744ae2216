"""What both web doors share: error answers, headers, the session cookie, CSRF, URLs and the health probes."""

from flask import Flask


def init_app(app: Flask) -> None:
    """Give every answer of `app` its request id, its headers and, when it is an error, its body."""
    from users.http import error_responses, health  # noqa: F401  (its routes hang on the blueprint)

    error_responses.init_app(app)
