"""Clean-up deletes expired rows, and nothing else deletes them."""

import sqlite3
import time
from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest
from flask import Flask
from sqlalchemy import event

from support.api import Api
from support.databases import rows
from support.expired_rows import MOMENT, NONE, add_answer, add_ended, add_link, add_session, add_throttle, left
from support.people import Cast, make_key
from support.visitors import Visitor
from users import clock
from users.auth import sessions
from users.roles import Permission
from users.services import cleanup, idempotency
from users.services.links import setup_link
from users.storage.models import db


def clean_up(app: Flask) -> None:
    """Clean up in this thread."""
    with app.app_context():
        cleanup.delete_expired()


def test_expired_rows(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now)
    for name, moved in ((b"ended", timedelta()), (b"goes on", MOMENT)):
        add_session(app, cast.ada.id, name + b" by age", now - sessions.ABSOLUTE + moved, now)
        add_session(app, cast.ada.id, name + b" unseen", now - sessions.IDLE, now - sessions.IDLE + moved)
        add_answer(app, name.decode(), now - idempotency.KEPT + moved)
        add_link(app, name, now - setup_link.LIFETIME + moved)
        add_throttle(app, name, now + moved)
    clean_up(app)
    names = "SELECT id_hash AS name FROM admin_sessions UNION ALL SELECT token_hash FROM setup_links"
    found = [bytes(row.name) for row in rows(app, f"{names} UNION ALL SELECT key FROM throttles")]
    assert sorted(found) == [b"goes on", b"goes on", b"goes on by age", b"goes on unseen"]
    assert rows(app, "SELECT idempotency_key FROM idempotency_records") == [("goes on",)]


def test_small_transactions(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "ROWS_AT_ONCE", 10)
    monkeypatch.setattr(cleanup, "PAUSE_SECONDS", 0)
    at = clock.now() - timedelta(days=400)
    for number in range(25):
        add_answer(app, f"key-{number}", at)
    deleted: list[int] = []

    def note(_c: object, cursor: sqlite3.Cursor, statement: str, *_: object) -> None:
        if statement.startswith("DELETE FROM idempotency_records"):
            deleted.append(cursor.rowcount)

    committed: list[int] = []
    with app.app_context():
        event.listen(db.engine, "after_cursor_execute", note)
        event.listen(db.engine, "commit", lambda _: committed.append(len(deleted)))
    clean_up(app)
    assert deleted == [10, 10, 5]
    assert {1, 2, 3} <= set(committed), "each piece is a transaction of its own"
    assert left(app) == NONE


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_locked_rows_wait(app: Flask, cast: Cast, database_url: str) -> None:
    long_ago = clock.now() - timedelta(days=400)
    for number in range(3):
        add_answer(app, f"key-{number}", long_ago)
        add_throttle(app, f"{number}".encode(), long_ago)
    with psycopg.connect(database_url) as other:
        other.execute("SELECT * FROM idempotency_records WHERE idempotency_key = 'key-1' FOR UPDATE")
        other.execute("SELECT * FROM throttles WHERE key = '1' FOR UPDATE")
        start = time.monotonic()
        clean_up(app)
        assert time.monotonic() - start < 2
        assert left(app) == {**NONE, "idempotency_records": 1, "throttles": 1}
    clean_up(app)
    assert left(app) == NONE


def deletes(app: Flask, act: Callable[[], object]) -> list[str]:
    """Return the tables that `act` deletes from."""
    sent: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("DELETE"):
            sent.append(statement.split()[2])

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    act()
    event.remove(engine, "before_cursor_execute", note)
    return sent


def test_requests_delete_nothing(app: Flask, cast: Cast) -> None:
    """Expired rows once slowed creates, sign-ins and password checks, which deleted them."""
    add_ended(app, cast)
    api = Api(app.test_client(), make_key(app, Permission.USERS_CREATE))
    body = {"email": "jo@example.com", "password": "correct horse battery"}

    def create() -> None:
        assert api.call("POST", "/v1/user/", json=body, headers={"Idempotency-Key": "new"}).status_code == 201

    assert deletes(app, create) == ["idempotency_records"]  # of the key itself
    assert left(app)["idempotency_records"] == 2
    visitor = Visitor(app.test_client())
    assert "admin_sessions" not in deletes(app, lambda: visitor.sign_in("ada@example.com"))
    assert visitor.sign_in("nobody@example.com", "wrong").status_code == 422
    assert rows(app, "SELECT 1 FROM throttles WHERE key = :ended", ended=b"ended")
