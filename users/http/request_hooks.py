"""Before every request: its ids and its host. After it: the headers, the audit row of a refusal, and the log line."""

import time

from flask import Flask, Response, g, request

from users import ids, logs, settings
from users.audit import trail
from users.errors import AuthenticationRequired, NotFound
from users.http import headers, proxies
from users.request_errors import UntrustedHost
from users.rules import hosts, ip_addresses

# Of RFC 9110 and RFC 5789. The log shows only these: a client can send any word, of any length.
_METHODS = {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}

_EMAIL = "/v1/user/email/"  # an email address may contain two slashes


def init_app(app: Flask) -> None:
    """Run the hooks around every request to `app`."""
    app.before_request(_start)
    app.after_request(_finish)


def _start() -> None:
    g.started = time.monotonic()
    sent_id = request.headers.get("X-Request-Id", "")
    g.request_id = ids.new_request_id()  # for audit events: a client cannot choose or repeat it
    g.trace_id = sent_id if ids.is_request_id(sent_id) else g.request_id  # for the response and the log
    g.client_request_id = sent_id if ids.is_client_request_id(sent_id) else None
    trusted = settings.current().trusted_hosts
    # Not Werkzeug's own check, which never finds an IPv6 address in the list.
    if trusted and not hosts.is_trusted(request.host, trusted):
        raise UntrustedHost
    path = request.environ.get("PATH_INFO", "")  # as it was sent: `request.path` has one slash at its beginning
    if "//" in path and not path.startswith(_EMAIL):
        # Werkzeug takes `/v1/user//` for the list: a client with an empty id would get all users.
        request.url_rule = None
        raise NotFound


def _finish(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.trace_id
    headers.add(response)
    # A key that was stopped after the request was counted gets 401, and a 401 has no rate limit headers.
    if "allowance" in g and response.status_code != AuthenticationRequired.status:
        response.headers.update(g.allowance.headers())
    if _may_leave_body(response):
        # The server closes the connection after this response. A client that is not told would send its next request
        # into the closing connection and lose it.
        response.headers["Connection"] = "close"
    if "error" in g and "actor" in g:
        trail.record_refusal(g.error, g.actor, _target())
    proxies.observe(response)
    if "is_probe" not in g or response.status_code >= 400:
        _log(response)
    return response


def _may_leave_body(response: Response) -> bool:
    """Tell whether the request has a body that may not have been read: the response is an error, or no view read it."""
    has_body = request.content_length or "Transfer-Encoding" in request.headers
    return bool(has_body) and (response.status_code >= 400 or "stream" not in vars(request))  # Werkzeug keeps it there


def _target() -> str | None:
    """Return the id of the user or key in the path."""
    values = (str(value) for value in (request.view_args or {}).values())
    return next((one for one in values if ids.is_user_id(one) or ids.is_key_id(one)), None)


def _log(response: Response) -> None:
    logs.event(
        "request",
        method=request.method if request.method in _METHODS else None,
        route=str(request.url_rule) if request.url_rule else None,  # the pattern: a path can hold an email or a key
        status=response.status_code,
        code=g.get("error_code"),
        milliseconds=round((time.monotonic() - g.started) * 1000),
        ip_address=_ip_address(),
        key_id=getattr(g.get("actor"), "key_id", None),
        user_id=getattr(g.get("actor"), "user_id", None),
        client_request_id=g.client_request_id if g.client_request_id != g.trace_id else None,
    )


def _ip_address() -> str | None:
    """Return the caller's IP address. What a proxy passes on may be any text of a client, which is not logged."""
    try:
        return str(ip_addresses.parse(request.remote_addr or ""))
    except ValueError:
        return None
