"""The log: one line for each event, on stderr, as text for people or JSON for a collector. Never a secret.

FIELDS lists the fields that may be logged, so nothing that a client sent gets there by accident. Every value is
escaped, so no value can forge a line.
"""

import logging

from flask import g, has_request_context

from users.logs import commands
from users.logs.handlers import AsyncHandler, StderrHandler
from users.logs.lines import LineFormatter, facts_of

FIELDS = (
    "cause",
    "client_request_id",
    "code",
    "count",
    "error",
    "ip_address",
    "key_id",
    "logger",
    "message",
    "method",
    "milliseconds",
    "place",
    "route",
    "status",
    "user_id",
)

_logger, _root = logging.getLogger("enrol"), logging.getLogger()


class RequestLineFilter(logging.Filter):
    """Drops the development server's own line for each request, which holds the query string."""

    def filter(self, record: logging.LogRecord) -> bool:
        return " - - [" not in str(record.msg)


def configure(style: str) -> None:
    """Send events to stderr in `style`, "text" or "json"."""
    handler = StderrHandler()
    handler.setFormatter(LineFormatter(style))
    _logger.handlers = [handler]
    _logger.setLevel(logging.INFO)
    _logger.propagate = False
    werkzeug = logging.getLogger("werkzeug")
    if not any(isinstance(one, RequestLineFilter) for one in werkzeug.filters):
        werkzeug.addFilter(RequestLineFilter())
    logging.getLogger("fido2").setLevel(logging.WARNING)  # at INFO it logs the ids of passkeys


def start_log_thread() -> None:
    """Let no request wait for stderr from now on. Servers call this; a command may wait."""
    (handler,) = _logger.handlers
    _logger.handlers = [AsyncHandler(handler)]
    if says_lines():
        _root.handlers = list(_logger.handlers)


def event(name: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Log the event `name` with `fields`, which must be among FIELDS, and the request's trace id."""
    unknown = set(fields) - set(FIELDS)
    if unknown:
        raise ValueError(f"not in the list of fields that may be logged: {sorted(unknown)}")
    _logger.log(level, "%s", name, extra={"fields": {**_request_ids(), **fields}})


def _request_ids() -> dict[str, str]:
    """Return the request's trace id and, if the caller chose that one, the id that its audit events have."""
    if not has_request_context() or "trace_id" not in g:
        return {}
    found = {"trace_id": g.trace_id, "request_id": g.get("request_id", g.trace_id)}
    return found if len(set(found.values())) == 2 else {"trace_id": g.trace_id}


def says_lines() -> bool:
    """Tell whether every line of this process is a line of the log: `server.json_lines` gave the root its handler."""
    return any(isinstance(one, AsyncHandler | StderrHandler) for one in _root.handlers)


def say(sentence: str, *, level: int = logging.INFO) -> None:
    """Print `sentence` on stderr, for the operator. A stderr that is full or closed stops no start."""
    if says_lines():
        event("message", level=level, message=commands.runnable(sentence))
    else:
        commands.say(sentence)


def unexpected(error: BaseException) -> None:
    """Log the class and the place of `error`, never its text, which may quote a row, a password or a key."""
    event("unexpected_error", level=logging.ERROR, **facts_of(error))
