"""The outside of every answer: its request id and headers, and any error as the JSON envelope or an HTML page."""

import contextlib
import secrets
import time
from collections.abc import Iterable
from typing import Any

from flask import Flask, Response, current_app, g, jsonify, render_template, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge, SecurityError
from werkzeug.exceptions import MethodNotAllowed as WrongMethod
from werkzeug.exceptions import NotFound as NoRoute

from users import clock, ids, logs
from users.audit import trail
from users.errors import AuthenticationRequired, EnrolError, InternalServerError, NotFound
from users.http import headers, session_cookie
from users.request_errors import InvalidParameter, MethodNotAllowed, PayloadTooLarge, UntrustedHost

# Of RFC 9110 and RFC 5789. A client can send any other word, as long as it likes.
_METHODS = {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}


def init_app(app: Flask) -> None:
    """Give every answer of `app` its request id, its headers and, when it is an error, its body."""
    app.before_request(_begin)
    app.after_request(_finish)
    # On the app and for every exception: a blueprint's handlers never see an unknown path.
    app.register_error_handler(Exception, _render)


def new_trace_id() -> str:
    """Return a new id for one request or one command: `req_` and 24 random characters."""
    return f"req_{secrets.token_hex(12)}"


def body(error: EnrolError, trace_id: str) -> dict[str, Any]:
    """Return `error` as the envelope of the contract (SPEC, Errors)."""
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


def _begin() -> None:
    g.started = time.monotonic()
    given = request.headers.get("X-Request-Id", "")
    g.request_id = new_trace_id()  # ours, which nobody outside can repeat: what audit events say
    g.trace_id = given if ids.is_request_id(given) else g.request_id  # what the answer and the log say
    g.client_request_id = given if ids.is_client_request_id(given) else None


def _finish(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.trace_id
    headers.add(response)
    if "allowance" in g and response.status_code != AuthenticationRequired.status:  # stopped since it was counted
        response.headers.update(g.allowance.headers())
    if _may_leave_body(response):
        # The server then hangs up; a client that does not know would send its next request into the closing
        # connection and lose it.
        response.headers["Connection"] = "close"
    if "refusal" in g and "actor" in g:
        trail.note_refusal(g.refusal, g.actor, _target())
    if "is_probe" not in g or response.status_code >= 400:
        _log(response)
    return response


def _may_leave_body(response: Response) -> bool:
    """Tell whether the request has a body that may not have been read: refused, or not asked for."""
    has_body = request.content_length or "Transfer-Encoding" in request.headers
    return bool(has_body) and (response.status_code >= 400 or "stream" not in vars(request))  # Werkzeug keeps it there


def _target() -> str | None:
    """Return the user or key that the address names."""
    named = (str(value) for value in (request.view_args or {}).values())
    return next((one for one in named if ids.is_user_id(one) or ids.is_key_id(one)), None)


def _log(response: Response) -> None:
    logs.event(
        "request",
        method=request.method if request.method in _METHODS else None,
        route=str(request.url_rule) if request.url_rule else None,  # the pattern: a path can hold an address or a key
        status=response.status_code,
        code=g.get("error_code"),
        milliseconds=round((time.monotonic() - g.started) * 1000),
        key_id=getattr(g.get("actor"), "key_id", None),
        client_request_id=g.client_request_id if g.client_request_id != g.trace_id else None,
    )


def _render(error: Exception) -> Response:
    """Answer with `error`, in JSON under /v1 and as a page elsewhere: the path alone decides."""
    expected = g.refusal = _expected(error)
    g.error_code = expected.code
    if request.path == "/v1" or request.path.startswith("/v1/"):
        response = jsonify(body(expected, g.trace_id))
    else:
        _recognise(expected)
        response = Response(render_template("error.html", error=expected, trace_id=g.trace_id))
    response.status_code = expected.status
    response.headers.update(expected.headers)
    if response.mimetype == "text/html":
        response.headers.pop("WWW-Authenticate", None)  # a page's visitor has no key to send
    return response


def _recognise(error: EnrolError) -> None:
    """Let the page of an unknown address greet who is signed in: no guard has looked. Not after a failure."""
    if error.status in (404, 405) and "actor" not in g:
        with contextlib.suppress(EnrolError):
            session_cookie.recognise()


def _expected(error: Exception) -> EnrolError:
    if isinstance(error, EnrolError):
        return error
    if isinstance(error, WrongMethod):
        return _wrong_method(error.valid_methods or ())
    if isinstance(error, NoRoute) and error is request.routing_exception and (methods := _methods_with_slash()):
        return _wrong_method(methods)
    for raised, ours in ((NoRoute, NotFound), (RequestEntityTooLarge, PayloadTooLarge), (SecurityError, UntrustedHost)):
        if isinstance(error, raised):
            return ours()
    if isinstance(error, HTTPException) and error.code is not None and error.code < 500:
        return InvalidParameter()
    logs.unexpected(error)
    return InternalServerError()


def _methods_with_slash() -> Iterable[str]:
    """Return the methods of the path with a slash behind it: without one, Werkzeug finds it by these methods alone."""
    adapter = current_app.create_url_adapter(request)
    return adapter.allowed_methods(f"{request.path}/") if adapter else ()


def _wrong_method(methods: Iterable[str]) -> MethodNotAllowed:
    return MethodNotAllowed(headers={"Allow": ", ".join(sorted(methods))})
