"""Postgres: connections that are lost, idle or frozen, and waits that end in time."""

import math
import os
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg
import pytest
from flask import Flask
from sqlalchemy import text

from app import create_app
from support.api import Api
from support.application import CHEAP, dispose, migrate
from support.databases import rows
from support.installations import Installation, installed
from support.people import make_key, make_user
from support.postgres import own_postgres
from support.postgres_wire import Wire
from users.actors import terminal
from users.errors import Unavailable, UserNotFound
from users.roles import Permission
from users.services import user_changes
from users.storage import database, idle_connections, postgres
from users.storage.deadlines import BUDGET_SECONDS
from users.storage.models import User, db


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Installation]:
    """A copy of the application with a new instance folder; its servers are ended with the test."""
    with installed(tmp_path / "enrol") as made:
        yield made


def _email() -> str:
    return f"{uuid.uuid4().hex}@example.com"


def _exists(api: Api, email: str) -> bool:
    app = api.client.application
    users = rows(app, "SELECT id FROM users WHERE email = :email", email=email)
    events = rows(app, "SELECT id FROM audit_events WHERE target_id = :id", id=users[0][0]) if users else []
    assert len(users) == len(events)  # an act and its audit event are written together or not at all
    return bool(users)


def _deactivate(app: Flask, user: User) -> bool:
    with app.app_context():
        return user_changes.deactivate_user(user.id, actor=terminal("req_test00000000")).is_active


@pytest.mark.parametrize(("at_commit", "written"), [("lose", False), ("lose answer", True), ("hold", False)])
def test_connection_lost_during_commit(wire: Wire, wired_api: Api, at_commit: str, written: bool) -> None:
    """The response says that the outcome is unknown."""
    email = _email()
    assert wired_api.create(email=_email()).status_code == 201
    wire.at_commit = at_commit
    start = time.monotonic()
    answer = wired_api.create(email=email)
    assert time.monotonic() - start < 6
    assert (answer.status_code, answer.json["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert answer.json["error"]["details"] == {"outcome": "unknown"}
    assert answer.headers["Retry-After"]
    assert _exists(wired_api, email) is written
    wire.cut()  # if it is held, the transaction is still open in Postgres and has the email
    # In both cases the caller can ask again.
    assert wired_api.create(email=email).status_code == (409 if written else 201)


def test_connection_lost_before_commit(wire: Wire, wired_api: Api) -> None:
    """The response does not speak of an outcome."""
    assert wired_api.create(email=_email()).status_code == 201
    wire.close()
    answer = wired_api.create(email=_email())
    assert (answer.status_code, answer.json["error"]["details"]) == (503, {})


def test_lost_connection_hides_no_error(wire: Wire, wired_api: Api) -> None:
    def act() -> None:
        with wired_api.client.application.app_context(), database.transaction() as session:
            session.execute(text("SELECT 1"))
            wire.cut()
            raise UserNotFound

    with pytest.raises(UserNotFound):
        act()


def test_connections_lost_while_idle(wire: Wire, wired_api: Api) -> None:
    """The caller does not notice them."""
    assert wired_api.create(email=_email()).status_code == 201
    wire.cut()
    assert wired_api.create(email=_email()).status_code == 201


@pytest.mark.parametrize(("idle", "asked"), [(math.inf, 0), (0, 1)], ids=["just used", "idle"])
def test_ping_after_idle_time(wired_api: Api, monkeypatch: pytest.MonkeyPatch, idle: float, asked: int) -> None:
    """Only a connection that was idle is pinged."""
    assert wired_api.create(email=_email()).status_code == 201
    monkeypatch.setattr(idle_connections, "PING_AFTER_SECONDS", idle)
    with wired_api.client.application.app_context():
        engine = db.engine
        with mock.patch.object(engine.dialect, "do_ping", wraps=engine.dialect.do_ping) as ping:
            engine.connect().close()
    assert ping.call_count == asked


def test_new_connection_is_not_pinged(wired_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The replacement for a lost connection is not pinged."""
    assert wired_api.create(email=_email()).status_code == 201
    monkeypatch.setattr(idle_connections, "_is_quiet", lambda _connection: False)
    with wired_api.client.application.app_context():
        dialect = db.engine.dialect
    with mock.patch.object(dialect, "do_ping", side_effect=psycopg.OperationalError) as ping:
        assert wired_api.get("/v1/user/me").status_code == 404  # the key has no owner
    assert ping.call_count == 1


def test_closed_connection_is_replaced(wired_api: Api) -> None:
    assert wired_api.create(email=_email()).status_code == 201
    with wired_api.client.application.app_context(), db.engine.connect() as connection:
        closed = connection.connection.dbapi_connection
    assert closed
    closed.close()
    assert wired_api.get("/v1/user/me").status_code == 404  # the key has no owner


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_statement_ends_in_postgres(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement that Enrol no longer waits for ends in Postgres too."""
    monkeypatch.setattr(database, "BUDGET_SECONDS", 0.5)
    monkeypatch.setitem(postgres.SESSION, "statement_timeout", "500ms")
    app = create_app({**CHEAP, "DATABASE_URL": database_url})
    user = make_user(app, "jo@example.com")
    with psycopg.connect(database_url) as other, psycopg.connect(database_url, autocommit=True) as onlooker:
        other.execute("LOCK TABLE users")
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'users'::regclass"
        with pytest.raises(Unavailable):
            _deactivate(app, user)
        limit = time.monotonic() + 2
        while onlooker.execute(waiting).fetchone() != (0,):
            assert time.monotonic() < limit
            time.sleep(0.05)
    assert _deactivate(app, user) is False
    dispose(app)


class Freezer:
    """Freezes a Postgres server of its own, and thaws it."""

    def __init__(self, server: Any) -> None:
        self.address = str(server.get_uri())
        self._first = int(server.get_pid())
        self._stopped: list[int] = []

    def freeze(self) -> None:
        """Freeze all processes of the server, the first one first, since it starts the others."""
        with psycopg.connect(self.address) as connection:
            pids = [pid for (pid,) in connection.execute("SELECT pid FROM pg_stat_activity").fetchall()]
        self._stopped = [self._first, *pids]
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Thaw them."""
        self._signal(signal.SIGCONT)
        self._stopped = []

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._stopped:
            with suppress(ProcessLookupError):  # for example, the connection that asked for the pids has ended
                os.kill(pid, number)


@pytest.fixture
def freezer() -> Iterator[Freezer]:
    """A Postgres server with all tables that only this test uses and can freeze."""
    with own_postgres() as server:
        made = Freezer(server)
        migrate(made.address)
        yield made
        made.thaw()


def test_frozen_postgres(here: Installation, freezer: Freezer) -> None:
    """Requests give up on a frozen Postgres in time, and find it again."""
    here.environment["DATABASE_URL"] = freezer.address
    app = create_app({**CHEAP, "DATABASE_URL": freezer.address})
    key = make_key(app, Permission.USERS_CREATE)
    dispose(app)
    (server,) = here.start("granian")

    def create() -> Any:
        body = {"email": _email(), "password": "correct horse battery"}
        return server.call("POST", "/v1/user/", key=key, body=body)

    assert create().status == 201
    freezer.freeze()
    for _ in range(2):  # over a connection from the pool, then over a new one
        reply = create()
        assert (reply.status, reply.code) == (503, "SERVICE_UNAVAILABLE")
        assert reply.seconds < 6
    health, readiness = (server.call("GET", path) for path in ("/healthz", "/readyz"))
    assert (health.status, health.json) == (200, {"status": "ok"})
    assert (readiness.status, readiness.json["reason"]) == (503, "database")
    assert readiness.seconds < BUDGET_SECONDS + 1
    freezer.thaw()
    assert create().status == 201
    assert server.process.poll() is None
    assert server.log().count("Spawning worker") == 1
    assert "unexpected_error" not in server.log()
