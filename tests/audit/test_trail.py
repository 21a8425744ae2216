"""The audit trail: append-only, except that an IP address can be erased. It has refusals too."""

import json
import logging
import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskCliRunner
from sqlalchemy.exc import IntegrityError

from support.api import Api
from support.databases import execute, rewrite_audit, rows
from support.people import PASSWORD, Cast, make_key, make_user
from support.visitors import Visitor
from users import rate_limits
from users.roles import Permission, Role
from users.rules import key_format

COLUMNS = {
    "id": "'evt_1'",
    "at": "'2000-01-01 00:00:00'",
    "action": "'user.rename'",
    "outcome": "'refused'",
    "actor_kind": "'key'",
    "actor_user_id": "'usr_1'",
    "actor_key_id": "'akid_1'",
    "target_id": "NULL",
    "fields": "'[]'",
    "address": "'192.0.2.9'",
    "request_id": "NULL",
    "client_request_id": "'job-2026-11-24'",
}


@pytest.fixture
def trail(app: Flask) -> str:
    """The id of an event with an IP address."""
    make_user(app, "jo@example.com")
    rewrite_audit(app, "UPDATE audit_events SET address = '192.0.2.7'")
    ((event_id,),) = rows(app, "SELECT id FROM audit_events")
    return str(event_id)


def refused(app: Flask, statement: str) -> bool:
    """Tell whether the database refuses the statement because of the trigger, and nothing has changed."""
    before = rows(app, "SELECT * FROM audit_events")
    with pytest.raises(IntegrityError, match="append-only"):
        execute(app, statement)
    return rows(app, "SELECT * FROM audit_events") == before


@pytest.mark.parametrize("column", COLUMNS)
def test_no_update(app: Flask, trail: str, column: str) -> None:
    assert set(COLUMNS) == set(rows(app, "SELECT * FROM audit_events")[0]._fields)
    assert refused(app, f"UPDATE audit_events SET {column} = {COLUMNS[column]}")
    assert refused(app, f"UPDATE audit_events SET {column} = {COLUMNS[column]} WHERE id = '{trail}'")


def test_only_the_ip_address_can_be_erased(app: Flask, trail: str) -> None:
    assert refused(app, "UPDATE audit_events SET address = NULL, action = 'user.rename'")
    (before,) = rows(app, "SELECT * FROM audit_events")
    execute(app, "UPDATE audit_events SET address = NULL")
    (after,) = rows(app, "SELECT * FROM audit_events")
    assert after._asdict() == {**before._asdict(), "address": None}
    assert refused(app, "UPDATE audit_events SET address = '192.0.2.7'")


@pytest.mark.usefixtures("trail")
def test_no_delete(app: Flask) -> None:
    assert refused(app, "DELETE FROM audit_events")


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
@pytest.mark.usefixtures("trail")
def test_no_truncate(app: Flask) -> None:
    assert refused(app, "TRUNCATE audit_events")


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_no_upsert(app: Flask, trail: str) -> None:
    again = "INSERT INTO audit_events SELECT * FROM audit_events ON CONFLICT (id) DO UPDATE SET action = 'user.rename'"
    assert refused(app, again)
    assert trail


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", ["id", "rowid"])
@pytest.mark.usefixtures("trail")
def test_no_replace(app: Flask, name: str) -> None:
    columns = ", ".join([*COLUMNS, "rowid"])
    values = ", ".join({**COLUMNS, "rowid": "77", name: name}.values())
    replace = f"INSERT OR REPLACE INTO audit_events ({columns}) SELECT {values} FROM audit_events"
    assert refused(app, replace)
    assert refused(app, "UPDATE OR REPLACE audit_events SET rowid = 77")


def refusals(app: Flask) -> Sequence[Any]:
    """Return actor, target and reason of the refused requests in the trail."""
    found = rows(
        app,
        "SELECT actor_kind, actor_user_id, actor_key_id, target_id, fields, request_id FROM audit_events"
        " WHERE action = 'request.refuse' AND outcome = 'refused' ORDER BY id",
    )
    told = [row._asdict() for row in found]
    return [
        {**row, "fields": row["fields"] if isinstance(row["fields"], list) else json.loads(row["fields"])}
        for row in told
    ]


def test_missing_permission(app: Flask, cast: Cast) -> None:
    key = make_key(app, Permission.USERS_READ, owner=cast.ada)
    ((key_id,),) = rows(app, "SELECT id FROM api_keys")
    answer = Api(app.test_client(), key).create()
    assert answer.status_code == 403
    assert refusals(app) == [
        {
            "actor_kind": "key",
            "actor_user_id": cast.ada.id,
            "actor_key_id": key_id,
            "target_id": None,
            "fields": ["users:create"],
            "request_id": answer.headers["X-Request-Id"],
        }
    ]


def request_ids(app: Flask, action: str = "user.create") -> list[tuple[str, str | None]]:
    """Return the request ids of such acts, Enrol's and the caller's, oldest first."""
    found = "SELECT request_id, client_request_id FROM audit_events WHERE action = :action ORDER BY id"
    return [tuple(row) for row in rows(app, found, action=action)]


@pytest.mark.parametrize("given", ["req_abc123xyz", "job.2026-11_24"])
def test_request_id_of_the_caller(app: Flask, api: Api, events: list[logging.LogRecord], given: str) -> None:
    answers = [api.call("POST", "/v1/user/", json=body(n), headers={"X-Request-Id": given}) for n in range(2)]
    is_kept = given.startswith("req_")
    assert [answer.headers["X-Request-Id"] == given for answer in answers] == [is_kept] * 2
    (first, one), (second, other) = request_ids(app)
    assert (one, other) == (given, given)
    assert len({first, second, given}) == 3
    assert all(re.fullmatch(r"req_[0-9a-f]{24}", ours) for ours in (first, second))
    if not is_kept:
        assert [answer.headers["X-Request-Id"] for answer in answers] == [first, second]
    lines = [event.__dict__["fields"] for event in events if event.getMessage() == "request"]
    assert [line["trace_id"] for line in lines] == [answer.headers["X-Request-Id"] for answer in answers]
    assert [line.get("request_id", line["trace_id"]) for line in lines] == [first, second]


def test_request_id_of_enrol(app: Flask, api: Api) -> None:
    answers = [api.call("POST", "/v1/user/", json=body(0))]
    for number, given in enumerate(("", "short", "ä" * 8, "x" * 65, "a b c d e f"), 1):
        headers = {"X-Request-Id": given.encode().decode("latin-1")}
        answers.append(api.call("POST", "/v1/user/", json=body(number), headers=headers))
    assert request_ids(app) == [(answer.headers["X-Request-Id"], None) for answer in answers]


def body(number: int) -> dict[str, str]:
    """Return a body that creates a new user."""
    return {"email": f"jo{number}@example.com", "password": PASSWORD}


def test_request_id_on_pages(app: Flask, ada: Visitor, cast: Cast) -> None:
    given = {"X-Request-Id": "req_abc123xyz"}
    assert ada.post(f"/admin/users/{cast.sam.id}/deactivate", headers=given).status_code == 303
    reader = Api(app.test_client(), make_key(app, Permission.USERS_READ))
    assert reader.call("POST", "/v1/user/", json={}, headers=given).status_code == 403
    found = [*request_ids(app, "user.deactivate"), *request_ids(app, "request.refuse")]
    assert [client for _, client in found] == ["req_abc123xyz"] * 2
    assert len({ours for ours, _ in found} - {"req_abc123xyz"}) == 2


def test_refused_page(app: Flask, omar: Visitor, cast: Cast) -> None:
    assert omar.get("/admin/keys").status_code == 403
    (row,) = refusals(app)
    assert (row["actor_kind"], row["actor_user_id"], row["fields"]) == ("session", cast.omar.id, ["keys:manage"])


def test_refused_act(app: Flask, omar: Visitor, cast: Cast) -> None:
    assert omar.post(f"/admin/users/{cast.ada.id}/deactivate").status_code == 403
    (row,) = refusals(app)
    assert (row["actor_user_id"], row["target_id"]) == (cast.omar.id, cast.ada.id)
    assert row["fields"] == sorted(set(Permission) - Role.OPERATOR.permissions)


def test_last_administrator(app: Flask, ada: Visitor, cast: Cast, runner: FlaskCliRunner) -> None:
    assert ada.post(f"/admin/users/{cast.ada.id}/deactivate").status_code == 409
    assert runner.invoke(args=["users", "deactivate", "ada@example.com"]).exit_code == 3
    told = [(row["actor_kind"], row["target_id"], row["fields"]) for row in refusals(app)]
    assert told == [("session", cast.ada.id, ["LAST_ADMINISTRATOR"]), ("terminal", cast.ada.id, ["LAST_ADMINISTRATOR"])]


def test_strangers_write_nothing(app: Flask, visitor: Visitor, api: Api, cast: Cast) -> None:
    before = rows(app, "SELECT id FROM audit_events")
    execute(app, "UPDATE api_keys SET deactivated_at = created_at")
    assert api.create().status_code == 401
    for key in (None, "x", key_format.new_key()):
        assert api.get(f"/v1/user/{cast.ada.id}", key=key).status_code == 401
    for path in ("/admin/keys", f"/admin/users/{cast.ada.id}", "/setup"):
        assert visitor.get(path).status_code in (303, 404)
    assert visitor.post("/admin/keys/new", headers={"Origin": "https://evil.example"}).status_code == 403
    assert rows(app, "SELECT id FROM audit_events") == before


def test_form_of_another_site(app: Flask, ada: Visitor) -> None:
    assert ada.post("/admin/keys/new", headers={"Origin": "https://evil.example"}).status_code == 403
    assert refusals(app) == []


def test_limit_of_refusals(app: Flask, api: Api, cast: Cast, events: list[logging.LogRecord]) -> None:
    reader = Api(app.test_client(), make_key(app, Permission.USERS_READ))
    for _ in range(rate_limits.REFUSALS.requests + 5):
        assert reader.create().status_code == 403
    assert rate_limits.REFUSALS.requests <= len(refusals(app)) < rate_limits.REFUSALS.requests + 5
    assert "refusal_not_recorded" in [event.getMessage() for event in events]
    other = Api(app.test_client(), make_key(app, Permission.USERS_READ))
    before = len(refusals(app))
    assert other.create().status_code == 403
    assert len(refusals(app)) == before + 1


@contextmanager
def held(app: Flask) -> Iterator[None]:
    """Hold the lock that an audit row needs."""
    url = app.config["SQLALCHEMY_DATABASE_URI"]
    connection: Any
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        lock = "BEGIN IMMEDIATE"
    else:
        connection = psycopg.connect(url.replace("+psycopg", ""))
        lock = "LOCK TABLE audit_events IN EXCLUSIVE MODE"
    with closing(connection):
        connection.execute(lock)
        yield


def test_database_cannot_write(app: Flask, cast: Cast, events: list[logging.LogRecord]) -> None:
    reader = Api(app.test_client(), make_key(app, Permission.USERS_READ, owner=cast.ada))
    assert reader.get("/v1/user/me").status_code == 200  # notes that the key was used
    with held(app):
        start = time.monotonic()
        assert reader.create().status_code == 403
        assert time.monotonic() - start < 2
    assert refusals(app) == []
    (event,) = [event for event in events if event.getMessage() == "refusal_not_recorded"]
    assert event.fields["user_id"] == cast.ada.id  # type: ignore[attr-defined]
