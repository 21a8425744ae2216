"""Errors as responses: the JSON body under /v1, the HTML page elsewhere. The class in `users.errors` has the status."""

import contextlib
from collections.abc import Iterable
from typing import Any

from flask import Flask, Response, current_app, g, jsonify, render_template, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.exceptions import MethodNotAllowed as HTTPMethodNotAllowed
from werkzeug.exceptions import NotFound as HTTPNotFound

from users import clock, logs
from users.errors import EnrolError, InternalServerError, NotFound
from users.http import session_cookie
from users.request_errors import InvalidParameter, MethodNotAllowed, PayloadTooLarge


def init_app(app: Flask) -> None:
    """Answer every exception of `app` with an error response."""
    # On the app and for every exception: a blueprint's handlers never see an unknown path.
    app.register_error_handler(Exception, _respond)


def json_body(error: EnrolError, trace_id: str) -> dict[str, Any]:
    """Return the JSON body of `error`, as openapi.json describes it."""
    return {
        "success": False,
        "error": {
            "code": error.code,
            "message": error.message,
            "system_message": error.system_message,
            "type": error.type,
            "status": error.status,
            "trace_id": trace_id,
            "timestamp": clock.rfc3339(clock.now()),
            "details": error.details,
        },
    }


def _respond(exception: Exception) -> Response:
    """Answer with the error that `exception` is: JSON under /v1, a page elsewhere. Only the path decides."""
    error = g.error = _as_enrol_error(exception)
    g.error_code = error.code
    if request.path == "/v1" or request.path.startswith("/v1/"):
        response = jsonify(json_body(error, g.trace_id))
    else:
        _find_signed_in_user(error)
        response = Response(render_template("error.html", error=error, trace_id=g.trace_id))
    response.status_code = error.status
    response.headers.update(error.headers)
    if response.mimetype == "text/html":
        response.headers.pop("WWW-Authenticate", None)  # a browser has no API key to send
    return response


def _find_signed_in_user(error: EnrolError) -> None:
    """Find who is signed in, for the head of a 404 or 405 page: no guard has run."""
    if error.status in (404, 405) and "actor" not in g:  # not after other errors: the database may be the cause
        with contextlib.suppress(EnrolError):
            session_cookie.load_session()


def _as_enrol_error(exception: Exception) -> EnrolError:
    if isinstance(exception, EnrolError):
        return exception
    if isinstance(exception, HTTPMethodNotAllowed):
        return _method_not_allowed(exception.valid_methods or ())
    if (
        isinstance(exception, HTTPNotFound)
        and exception is request.routing_exception
        and not request.path.endswith("/")
        and (methods := _methods_with_slash())
    ):
        return _method_not_allowed(methods)
    for theirs, ours in (
        (HTTPNotFound, NotFound),
        (RequestEntityTooLarge, PayloadTooLarge),
    ):
        if isinstance(exception, theirs):
            return ours()
    if isinstance(exception, HTTPException) and exception.code is not None and exception.code < 500:
        return InvalidParameter()
    logs.unexpected(exception)
    return InternalServerError()


def _methods_with_slash() -> Iterable[str]:
    """Return the methods of the path with a final slash: without it, Werkzeug finds the path only by these methods."""
    adapter = current_app.create_url_adapter(request)
    return adapter.allowed_methods(f"{request.path}/") if adapter else ()


def _method_not_allowed(methods: Iterable[str]) -> MethodNotAllowed:
    return MethodNotAllowed(headers={"Allow": ", ".join(sorted(methods))})
