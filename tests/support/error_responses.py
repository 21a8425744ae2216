"""What an error under /v1 must look like, in the answer and in the log."""

import logging
import re
from typing import Any, NamedTuple

from support.api import Answer


class ExpectedError(NamedTuple):
    """What an error must say of itself."""

    status: int
    code: str
    type: str


def check_error(answer: Answer, expected: ExpectedError) -> dict[str, Any]:
    """Assert that `answer` is an error response of the contract, and return its error."""
    assert answer.status_code == expected.status
    assert answer.content_type == "application/json"
    assert list(answer.json) == ["success", "error"]
    assert answer.json["success"] is False
    error: dict[str, Any] = answer.json["error"]
    names = ["code", "message", "system_message", "type", "status", "trace_id", "timestamp", "details"]
    assert list(error) == names
    assert (error["status"], error["code"], error["type"]) == expected
    assert re.fullmatch(r"req_[A-Za-z0-9]{8,60}", error["trace_id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", error["timestamp"])
    assert isinstance(error["details"], dict)
    assert error["message"]
    assert error["system_message"]
    assert answer.headers["X-Request-Id"] == error["trace_id"]
    assert answer.headers["Cache-Control"] == "no-store"
    return error


def comparable(answer: Answer) -> dict[str, Any]:
    """Return an error without its trace id and time."""
    return {**answer.json["error"], "trace_id": "", "timestamp": ""}


def logged(events: list[logging.LogRecord], name: str) -> dict[str, Any]:
    """Return the fields of the last event of this name."""
    fields: dict[str, Any] = [event.__dict__["fields"] for event in events if event.getMessage() == name][-1]
    return fields
