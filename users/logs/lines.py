"""How a line of the log is written, and what a line tells of an error: never the error's text."""

import json
import logging
import re
import traceback
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy.exc import DBAPIError

_PLAIN = re.compile(r"[!-~]+")


class LineFormatter(logging.Formatter):
    """Formats an event as `time level event name=value …`, or as one JSON object.

    A line that a library logs is the event `message`.
    """

    def __init__(self, style: str) -> None:
        super().__init__()
        self.as_json = style == "json"

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] | None = getattr(record, "fields", None)
        moment = datetime.fromtimestamp(record.created, UTC)  # when it happened, which may be before it is written
        head = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": "message" if fields is None else record.getMessage(),
        }
        if fields is None:
            fields = _library_line(record)
        if self.as_json:
            return json.dumps({**head, **fields})
        pairs = [f"{name}={_escaped(value)}" for name, value in fields.items() if value is not None]
        return " ".join([*head.values(), *pairs])


def _library_line(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a library logged and, of an error that it logged with it, the facts alone."""
    error = record.exc_info[1] if record.exc_info else None
    return {"logger": record.name, "message": record.getMessage(), **(facts_of(error) if error else {})}


def _escaped(value: object) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) and '"' not in text else json.dumps(text)


def facts_of(error: BaseException) -> dict[str, str]:
    """Return the class and the place of `error`. Its text may quote a row, a password or a key."""
    return {"error": _classes(error), "place": _places(error.__traceback__)}


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
