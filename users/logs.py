"""What happened, one line an event on stderr: text for a person, JSON for a collector. Never a secret.

An event's fields come from an allow-list, so that nothing a client sent reaches a log by accident, and every value
is escaped, so that none can forge a line.
"""

import contextlib
import json
import logging
import multiprocessing.util
import queue
import re
import sys
import threading
import time
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import click
from flask import g, has_request_context
from sqlalchemy.exc import DBAPIError

from users import forks

FIELDS = (
    "client_request_id",
    "code",
    "count",
    "error",
    "key_id",
    "method",
    "milliseconds",
    "place",
    "route",
    "status",
    "user_id",
)

WAITING_LINES = 1000  # of one server process, in a megabyte or two, until its stderr is read again
# After the last line: woken for each, the thread would take the interpreter from every request, a tenth of its time.
REST_SECONDS = 0.02

_logger = logging.getLogger("enrol")
_PLAIN = re.compile(r"[!-~]+")


class _Stderr(logging.Handler):
    """Writes to the stderr of the moment, which a supervisor or a test may have exchanged since the start."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; one that cannot be written stops nothing."""
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:
            with contextlib.suppress(Exception):  # stderr itself is closed
                self.handleError(record)


class _Aside(logging.Handler):
    """Leaves the writing to a thread of its own: a pipe that nobody empties holds whoever writes to it, for good.

    What comes while WAITING_LINES wait is dropped, and told as a number where it is missing, before the next line.
    """

    def __init__(self, writer: logging.Handler) -> None:
        super().__init__()
        self._writer = writer
        self._begin()
        # What is being written while a process forks leaves stderr locked in the child, for good.
        forks.register(self, before=_Aside.flush, in_child=_Aside._begin)
        multiprocessing.util.register_after_fork(self, _Aside._flush_at_end)

    def _begin(self) -> None:
        """Begin with no lines, since those of the parent are the parent's, and with a thread."""
        self._waiting: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
        self._taken = self._written = self._dropped = 0
        threading.Thread(target=self._write, name="log", daemon=True).start()
        self._flush_at_end()

    def _flush_at_end(self) -> None:
        """Flush also where a process ends without what `logging` does then, as a child of `multiprocessing`."""
        multiprocessing.util.Finalize(None, self.flush, exitpriority=0)

    def emit(self, record: logging.LogRecord) -> None:
        """Leave the line to be written. `handle` lets one thread in at a time."""
        if self._waiting.qsize() >= WAITING_LINES:
            self._dropped += 1
            return
        self._tell_gap()
        self._leave(record)

    def flush(self) -> None:
        """Wait for the lines to be written, a second at most: it is the end of the process."""
        self._tell_gap()
        limit = time.monotonic() + 1
        while self._written < self._taken and time.monotonic() < limit:
            time.sleep(REST_SECONDS)

    def _tell_gap(self) -> None:
        if self._dropped:
            self._leave(_missing(self._dropped))
            self._dropped = 0

    def _leave(self, record: logging.LogRecord) -> None:
        self._taken += 1
        self._waiting.put(record)

    def _write(self) -> None:
        while True:
            self._writer.emit(self._waiting.get())  # not `handle`, whose lock the end of the process would wait for
            self._written += 1
            if self._waiting.empty():
                time.sleep(REST_SECONDS)


def _missing(count: int) -> logging.LogRecord:
    fields = {"levelname": "WARNING", "msg": "log_lines_dropped", "fields": {"count": count}}
    return logging.makeLogRecord(fields)


class _Lines(logging.Formatter):
    """Formats an event as `time level event name=value …`, or as one JSON object."""

    def __init__(self, style: str) -> None:
        super().__init__()
        self.as_json = style == "json"

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)  # it may be written later
        known = {"time": moment.isoformat(timespec="milliseconds"), "level": record.levelname.lower()}
        fields: dict[str, Any] = {**known, "event": record.getMessage(), **getattr(record, "fields", {})}
        if self.as_json:
            return json.dumps(fields)
        time, level, event, *rest = fields.items()
        words = [f"{name}={_escaped(value)}" for name, value in rest if value is not None]
        return " ".join([str(time[1]), str(level[1]), str(event[1]), *words])


def _escaped(value: object) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) and '"' not in text else json.dumps(text)


class _WithoutRequests(logging.Filter):
    """Drops the development server's own line for each request: it prints the query string, ours does not."""

    def filter(self, record: logging.LogRecord) -> bool:
        return " - - [" not in str(record.msg)


def configure(style: str) -> None:
    """Send events to stderr in `style`, "text" or "json"."""
    handler = _Stderr()
    handler.setFormatter(_Lines(style))
    _logger.handlers = [handler]
    _logger.setLevel(logging.INFO)
    _logger.propagate = False
    werkzeug = logging.getLogger("werkzeug")
    if not any(isinstance(one, _WithoutRequests) for one in werkzeug.filters):
        werkzeug.addFilter(_WithoutRequests())


def start_log_thread() -> None:
    """Let no request wait for stderr from now on. Whoever serves calls this; a command waits, as commands do."""
    (handler,) = _logger.handlers
    _logger.handlers = [_Aside(handler)]


def event(name: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Log the event `name` with `field_errors`, which must be among FIELDS, under the request's trace id."""
    unknown = set(fields) - set(FIELDS)
    if unknown:
        raise ValueError(f"not in the list of fields that may be logged: {sorted(unknown)}")
    _logger.log(level, "%s", name, extra={"fields": {**_request_ids(), **fields}})


def _request_ids() -> dict[str, str]:
    """Return the id of the request, and ours, which its audit events have, where the caller gave it another."""
    if not has_request_context() or "trace_id" not in g:
        return {}
    found = {"trace_id": g.trace_id, "request_id": g.get("request_id", g.trace_id)}
    return found if len(set(found.values())) == 2 else {"trace_id": g.trace_id}


def say(words: str) -> None:
    """Say `words` on stderr to whoever watches; what cannot be said stops no start."""
    with contextlib.suppress(OSError, ValueError):
        click.echo(words, err=True)


def unexpected(error: BaseException) -> None:
    """Log a fault by its class and place, never by its text: a text may quote a row, a password or a key."""
    event("unexpected_error", level=logging.ERROR, error=_classes(error), place=_places(error.__traceback__))


def _classes(error: BaseException | None) -> str:
    names: list[str] = []
    while error is not None and len(names) < 5:
        name = type(error).__name__
        if isinstance(error, DBAPIError):
            name += _database_facts(error.orig)
        names.append(name)
        error = error.__cause__ or error.__context__
    return " from ".join(names)


def _database_facts(cause: BaseException | None) -> str:
    """Return the SQLSTATE or SQLite's error name, and the constraint: all that a driver's error may tell."""
    diagnostics = getattr(cause, "diag", None)
    facts = [
        getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None),
        getattr(diagnostics, "constraint_name", None),
    ]
    return f"({', '.join(fact for fact in facts if fact)})"


def _places(trace: TracebackType | None) -> str:
    """Return where it happened, innermost first: the last line of all, then those that are not a library's."""
    frames = traceback.extract_tb(trace)
    ours = [frame for frame in frames[:-1] if "site-packages" not in frame.filename][-7:]
    told = [*ours, *frames[-1:]]
    return " < ".join(f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in reversed(told))
