"""The log: one line for each event, on stderr, as text for people or JSON for a collector. Never a secret.

FIELDS lists the fields that may be logged, so nothing that a client sent gets there by accident. Every value is
escaped, so no value can forge a line.
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
from pathlib import Path
from types import TracebackType
from typing import Any

import click
from flask import g, has_request_context
from sqlalchemy.exc import DBAPIError

from users import forks

FIELDS = (
    "cause",
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

BUFFERED_LINES = 1000  # in each process, 1 to 2 MB, while nothing reads its stderr
# The log thread's pause after the last line in the buffer. Without it, the thread woke for each line and kept the
# interpreter from the requests for a tenth of the time.
PAUSE_SECONDS = 0.02
FLUSH_SECONDS = 1.0  # the longest time that the end of a process waits for its last lines

_logger = logging.getLogger("enrol")
_PLAIN = re.compile(r"[!-~]+")


class StderrHandler(logging.Handler):
    """Writes to the present `sys.stderr`, which a supervisor or a test may have replaced since the start."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line. An error while writing stops nothing."""
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:
            with contextlib.suppress(Exception):  # stderr itself is closed
                self.handleError(record)


class AsyncHandler(logging.Handler):
    """Never blocks the caller: a thread writes the lines, and BUFFERED_LINES wait for it at most.

    When the buffer is full, lines are dropped, and a line before the next one says how many. A pipe that nothing reads
    blocks its writer for good. With `logging.handlers.QueueListener` the process would then never end: its `stop` joins
    the thread without a time-out, and its `handle` holds the lock that `logging.shutdown` waits for.
    """

    def __init__(self, writer: logging.Handler) -> None:
        super().__init__()
        self._writer = writer
        self._start()
        # A fork during a write would leave stderr's lock held in the child, for good: flush first.
        forks.register(self, before=AsyncHandler.flush, in_child=AsyncHandler._start)
        multiprocessing.util.register_after_fork(self, AsyncHandler._flush_at_exit)

    def _start(self) -> None:
        """Start a thread with an empty buffer, in a forked child too: the parent writes the parent's lines."""
        self._buffer: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
        self._buffered = self._written = self._dropped = 0
        threading.Thread(target=self._write, name="log", daemon=True).start()
        self._flush_at_exit()

    def _flush_at_exit(self) -> None:
        """Flush also at the end of a child of `multiprocessing`, which does not call `logging.shutdown`."""
        multiprocessing.util.Finalize(None, self.flush, exitpriority=0)

    def emit(self, record: logging.LogRecord) -> None:
        """Buffer the line. `handle` calls this in one thread at a time."""
        if self._buffer.qsize() >= BUFFERED_LINES:
            self._dropped += 1
            return
        self._report_dropped()
        self._put(record)

    def flush(self) -> None:
        """Wait until the buffered lines are written, for FLUSH_SECONDS at most."""
        self._report_dropped()
        limit = time.monotonic() + FLUSH_SECONDS
        while self._written < self._buffered and time.monotonic() < limit:
            time.sleep(PAUSE_SECONDS)

    def _report_dropped(self) -> None:
        if self._dropped:
            self._put(_dropped_lines(self._dropped))
            self._dropped = 0

    def _put(self, record: logging.LogRecord) -> None:
        self._buffered += 1
        self._buffer.put(record)

    def _write(self) -> None:
        while True:
            self._writer.emit(self._buffer.get())  # not `handle`: `logging.shutdown` would wait for its lock
            self._written += 1
            if self._buffer.empty():
                time.sleep(PAUSE_SECONDS)


def _dropped_lines(count: int) -> logging.LogRecord:
    fields = {"levelname": "WARNING", "msg": "log_lines_dropped", "fields": {"count": count}}
    return logging.makeLogRecord(fields)


class LineFormatter(logging.Formatter):
    """Formats an event as `time level event name=value …`, or as one JSON object."""

    def __init__(self, style: str) -> None:
        super().__init__()
        self.as_json = style == "json"

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)  # when it happened, which may be before it is written
        head = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        fields: dict[str, Any] = getattr(record, "fields", {})
        if self.as_json:
            return json.dumps({**head, **fields})
        pairs = [f"{name}={_escaped(value)}" for name, value in fields.items() if value is not None]
        return " ".join([*head.values(), *pairs])


def _escaped(value: object) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) and '"' not in text else json.dumps(text)


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


def start_log_thread() -> None:
    """Let no request wait for stderr from now on. Servers call this; a command may wait."""
    (handler,) = _logger.handlers
    _logger.handlers = [AsyncHandler(handler)]


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


def say(sentence: str) -> None:
    """Print `sentence` on stderr, for the operator. A stderr that is full or closed stops no start."""
    with contextlib.suppress(OSError, ValueError):
        click.echo(sentence, file=sys.stderr)


def unexpected(error: BaseException) -> None:
    """Log the class and the place of `error`, never its text, which may quote a row, a password or a key."""
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
    """Return the SQLSTATE or SQLite's error name, and the constraint: the driver's text is never logged."""
    diagnostics = getattr(cause, "diag", None)
    facts = [
        getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None),
        getattr(diagnostics, "constraint_name", None),
    ]
    return f"({', '.join(fact for fact in facts if fact)})"


def _places(trace: TracebackType | None) -> str:
    """Return where it happened, innermost first: the innermost frame, then those outside of libraries."""
    frames = traceback.extract_tb(trace)
    ours = [frame for frame in frames[:-1] if "site-packages" not in frame.filename][-7:]
    return " < ".join(_place(frame) for frame in reversed([*ours, *frames[-1:]]))


def _place(frame: traceback.FrameSummary) -> str:
    """Return folder, file, line and function: `api/users.py:46 create_user`, since several files are `users.py`."""
    return f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno} {frame.name}"
