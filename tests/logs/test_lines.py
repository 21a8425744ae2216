"""The log: one line for each event, fields from a list, no forged lines, no text of a driver."""

import io
import json
import logging
import re
import sqlite3
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, g
from werkzeug.serving import WSGIRequestHandler

from support.people import Cast, make_key
from support.visitors import Visitor
from users import logs
from users.roles import Permission

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00"


@pytest.fixture(autouse=True)
def logger() -> Iterator[logging.Logger]:
    """The service's logger, left as it was found."""
    logger = logging.getLogger("enrol")
    before = logger.handlers, logger.level, logger.propagate
    yield logger
    logger.handlers, logger.level, logger.propagate = before


class Log:
    """The log in one style from now on."""

    def __init__(self, style: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys
        self.text = ""
        logs.configure(style)

    @property
    def lines(self) -> list[str]:
        """All lines so far."""
        self.text += self.capsys.readouterr().err
        return self.text.splitlines()

    @property
    def last(self) -> dict[str, Any]:
        """The last line, which is JSON."""
        line: dict[str, Any] = json.loads(self.lines[-1])
        return line


@pytest.fixture
def style() -> str:
    """The style of the lines: JSON if a test chooses none."""
    return "json"


@pytest.fixture
def log(style: str, capsys: pytest.CaptureFixture[str]) -> Log:
    """The log, empty."""
    return Log(style, capsys)


@pytest.mark.parametrize("style", ["text"])
def test_text(log: Log) -> None:
    """A line of time, level, event and fields."""
    logs.event("request", method="POST", status=201, code=None, milliseconds=7)
    (line,) = log.lines
    assert re.fullmatch(f"{TIME} info request method=POST status=201 milliseconds=7", line)


def test_json(log: Log) -> None:
    """An object on one line."""
    logs.event("request", level=logging.WARNING, method="POST", status=201, code=None)
    (line,) = log.lines
    found = json.loads(line)
    assert re.fullmatch(TIME, found.pop("time"))
    assert found == {"level": "warning", "event": "request", "method": "POST", "status": 201, "code": None}


FORGERIES = [
    "a\n2026-01-01T00:00:00.000+00:00 info request status=200",
    "a\r\nb",
    "a b=c",
    'a" status="200',
    "\x1b[31mred",
    "a\u2028b",
    "a\x85b",
    "é",
    "\ud800",
    "\0",
    "",
]


@pytest.mark.parametrize("value", FORGERIES, ids=ascii)
@pytest.mark.parametrize("style", ["text", "json"])
def test_forged_values(log: Log, style: str, value: str) -> None:
    """No value forges a line or a field."""
    logs.event("request", route=value, status=404)
    (line,) = log.lines
    assert line.isascii()
    assert line.isprintable()
    if style == "json":
        assert log.last["route"] == value
    else:
        match = re.fullmatch(f'{TIME} info request route=("(?:[^"\\\\]|\\\\.)*") status=404', line)
        assert match
        assert json.loads(match[1]) == value


@pytest.mark.parametrize("name", ["password", "email", "key", "url", "path", "query", "headers", "body", "first_name"])
def test_unlisted_field(log: Log, name: str) -> None:
    """A field that is not in FIELDS raises ValueError."""
    with pytest.raises(ValueError, match="not in the list of fields"):
        logs.event("request", **{name: "hunter2"})  # type: ignore[arg-type]
    assert log.lines == []


def test_list_of_fields() -> None:
    """No field holds text of a client."""
    assert list(logs.FIELDS) == sorted(logs.FIELDS)
    secret = {"password", "email", "key", "url", "path", "query", "headers", "body", "first_name", "last_name"}
    assert not secret & set(logs.FIELDS)


def test_trace_id(log: Log) -> None:
    """An event in a request has its trace id."""
    with Flask(__name__).test_request_context("/"):
        logs.event("early")
        assert "trace_id" not in log.last
        g.trace_id = "req_12345678"
        logs.event("later")
        assert log.last["trace_id"] == "req_12345678"
        g.request_id = "req_12345678"
        logs.event("ours")
        assert "request_id" not in log.last
        g.request_id = "req_87654321"
        logs.event("the caller's")
        assert (log.last["trace_id"], log.last["request_id"]) == ("req_12345678", "req_87654321")
    logs.event("outside")
    assert "trace_id" not in log.last


def fail(secret: str) -> None:
    """Raise a chain of errors whose texts quote `secret`."""
    try:
        raise KeyError(secret)
    except KeyError as error:
        raise ValueError(f"bad value {secret!r}") from error


@pytest.mark.parametrize("style", ["text", "json"])
def test_unexpected_error(log: Log, style: str) -> None:
    """The log has the class and the place of an error, never its text."""
    with pytest.raises(ValueError, match="hunter2") as caught:
        fail("hunter2")
    logs.unexpected(caught.value)
    (line,) = log.lines
    assert "hunter2" not in line
    assert "ValueError from KeyError" in line
    assert re.search(r"logs/test_lines\.py:\d+ fail", line)
    assert re.search(
        "error unexpected_error" if style == "text" else '"level": "error", "event": "unexpected_error"', line
    )


def test_long_chain_of_errors(log: Log) -> None:
    error: BaseException = ValueError("hunter2")
    error.__cause__ = error  # a cycle
    logs.unexpected(error)
    assert log.last["error"] == " from ".join(["ValueError"] * 5)


def test_sqlite_error(log: Log) -> None:
    """The log has the name of a driver error, never its text."""
    engine = sa.create_engine("sqlite://")
    insert = sa.text("INSERT INTO t VALUES (:hash)")
    with engine.connect() as connection:
        connection.execute(sa.text("CREATE TABLE t (hash TEXT UNIQUE)"))
        connection.execute(insert, {"hash": "hunter2"})
        with pytest.raises(sa.exc.IntegrityError, match="hunter2") as caught:
            connection.execute(insert, {"hash": "hunter2"})
    engine.dispose()
    logs.unexpected(caught.value)
    (line,) = log.lines
    assert log.last["error"] == "IntegrityError(SQLITE_CONSTRAINT_UNIQUE) from IntegrityError"
    assert re.search(
        r"^engine/default\.py:\d+ do_execute < logs/test_lines\.py:\d+ test_sqlite_error", log.last["place"]
    )  # without the frames between them
    assert "hunter2" not in line
    assert "INSERT" not in line


class Diagnostics:
    """The diagnostics of a psycopg error; `message_detail` has the whole row."""

    constraint_name = "uq_users_email_key"
    message_detail = "Failing row contains (hunter2)."


class PostgresError(Exception):
    """An error as psycopg raises it."""

    sqlstate = "23505"
    diag = Diagnostics()


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        (PostgresError("Failing row contains (hunter2)."), "DBAPIError(23505, uq_users_email_key)"),
        (sqlite3.OperationalError("near hunter2"), "DBAPIError()"),
    ],
)
def test_postgres_error(log: Log, cause: Exception, told: str) -> None:
    """The log has SQLSTATE and constraint of a driver error, never its text."""
    logs.unexpected(sa.exc.DBAPIError("INSERT hunter2", {"hash": "hunter2"}, cause))
    assert log.last["error"] == told
    assert "hunter2" not in log.lines[0]


@pytest.mark.parametrize("gone", [None, "closed"])
def test_closed_stderr(monkeypatch: pytest.MonkeyPatch, gone: str | None) -> None:
    logs.configure("json")
    stderr = io.StringIO() if gone else None
    if stderr:
        stderr.close()
    monkeypatch.setattr(sys, "stderr", stderr)
    logs.event("request", status=200)
    logs.say("No API key yet.")


def test_configure_twice(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text")
    logs.configure("json")
    logs.event("once")
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert json.loads(line)["event"] == "once"
    assert len([one for one in logging.getLogger("werkzeug").filters if isinstance(one, logs.RequestLineFilter)]) == 1


def test_request_lines_of_werkzeug(caplog: pytest.LogCaptureFixture) -> None:
    """They hold the query string and are dropped."""
    logs.configure("text")
    handler = WSGIRequestHandler.__new__(WSGIRequestHandler)
    handler.client_address, handler.command, handler.path = ("127.0.0.1", 1), "GET", "/setup?token=hunter2"
    handler.requestline, handler.request_version = "GET /setup?token=hunter2 HTTP/1.1", "HTTP/1.1"
    with caplog.at_level(logging.INFO, logger="werkzeug"):
        handler.log_request(200)
        handler.log("info", "%s", "a line of another kind")
        logging.getLogger("werkzeug").info(" * Running on http://127.0.0.1:5000")
    assert [record.getMessage() for record in caplog.records] == [" * Running on http://127.0.0.1:5000"]


@pytest.mark.one_database
def test_unknown_method(app: Flask, events: list[logging.LogRecord]) -> None:
    """The log does not name it."""
    app.test_client().open("/v1/user/", method="A" * 30_000)
    (line,) = [record for record in events if record.getMessage() == "request"]
    assert vars(line)["fields"]["method"] is None


def request_line(events: list[logging.LogRecord]) -> dict[str, Any]:
    """Return the fields of the only line of a request."""
    (line,) = [vars(record)["fields"] for record in events if record.getMessage() == "request"]
    events.clear()
    return dict(line)


@pytest.mark.one_database
def test_who_and_from_where(app: Flask, ada: Visitor, cast: Cast, events: list[logging.LogRecord]) -> None:
    """The line of a request has the address of the client, and the id of the key or of the user who is signed in."""
    key = make_key(app, Permission.USERS_READ, owner=cast.omar)
    app.test_client().get("/v1/user/me", headers={"X-API-Key": key})
    line = request_line(events)
    assert (line["ip_address"], line["user_id"]) == ("127.0.0.1", cast.omar.id)
    assert line["key_id"].startswith("akid_")
    ada.get("/admin/users")
    line = request_line(events)
    assert (line["ip_address"], line["key_id"], line["user_id"]) == ("127.0.0.1", None, cast.ada.id)
    app.test_client().get("/v1/user/me", environ_base={"REMOTE_ADDR": "2001:db8::1"})
    line = request_line(events)
    assert (line["ip_address"], line["key_id"], line["user_id"]) == ("2001:db8::1", None, None)


@pytest.mark.one_database
@pytest.mark.parametrize("settings", [{"ENROL_TRUSTED_PROXIES": "1", "ENROL_PUBLIC_URL": "https://users.example.com"}])
@pytest.mark.parametrize(
    ("sent", "told"), [("203.0.113.9", "203.0.113.9"), ("203.0.113.9:4711", "203.0.113.9"), ("hunter2", None)]
)
def test_address_from_a_proxy(app: Flask, events: list[logging.LogRecord], sent: str, told: str | None) -> None:
    """What is no address is not logged: a client may have written it."""
    app.test_client().get("/v1/user/me", headers={"X-Forwarded-For": sent})
    assert request_line(events)["ip_address"] == told
