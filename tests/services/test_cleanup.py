"""Clean-up: any request starts it, and no request waits for it or fails because of it."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta

import psycopg
import pytest
from flask import Flask
from sqlalchemy import event

from app import create_app
from support.api import Api
from support.application import CHEAP, dispose
from support.databases import execute, rows
from support.people import Cast, make_key
from support.postgres_wire import Wire
from support.visitors import Visitor
from users import clock
from users.auth import sessions
from users.errors import Unavailable
from users.roles import Permission
from users.services import cleanup, idempotency, setup_link
from users.storage import database
from users.storage.models import db

TABLES = ("admin_sessions", "idempotency_records", "setup_links", "throttles")
MOMENT = timedelta(seconds=1)


class Time:
    """A steady clock that moves only by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> Time:
    """The steady clock by hand. Name it before `app` in a test, so that the application uses it."""
    moved = Time()
    monkeypatch.setattr(clock, "monotonic", moved)
    return moved


def add_session(app: Flask, user_id: str, name: bytes, created_at: datetime, seen_at: datetime) -> None:
    """Add a session."""
    insert = "INSERT INTO admin_sessions (id_hash, user_id, created_at, last_seen_at) VALUES (:name, :user, :at, :seen)"
    execute(app, insert, name=name, user=user_id, at=created_at, seen=seen_at)


def add_answer(app: Flask, name: str, at: datetime) -> None:
    """Add an answer kept under an Idempotency-Key."""
    columns = "api_key_id, idempotency_key, fingerprint, answer, created_at"
    values = "'akid_1', :name, :print, '{}', :at"
    execute(app, f"INSERT INTO idempotency_records ({columns}) VALUES ({values})", name=name, print=b"", at=at)


def add_link(app: Flask, name: bytes, at: datetime) -> None:
    """Add a set-up link."""
    execute(app, "INSERT INTO setup_links (token_hash, created_at) VALUES (:name, :at)", name=name, at=at)


def add_throttle(app: Flask, name: bytes, at: datetime) -> None:
    """Add a throttle that expires at `at`."""
    execute(app, "INSERT INTO throttles (key, tokens, refilled_at) VALUES (:name, 0, :at)", name=name, at=at)


def add_ended(app: Flask, cast: Cast) -> None:
    """Add an expired row to each table."""
    long_ago = clock.now() - timedelta(days=400)
    add_session(app, cast.ada.id, b"ended", long_ago, long_ago)
    add_answer(app, "ended", long_ago)
    add_link(app, b"ended", long_ago)
    add_throttle(app, b"ended", long_ago)


def left(app: Flask) -> dict[str, int]:
    """Return how many rows each table has."""
    return {table: rows(app, f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}


ALL, NONE = dict.fromkeys(TABLES, 1), dict.fromkeys(TABLES, 0)


def running() -> list[threading.Thread]:
    """Return the clean-up threads."""
    return [thread for thread in threading.enumerate() if thread.name == "cleanup"]


def wait() -> None:
    """Wait for the clean-up to end."""
    for thread in running():
        thread.join(10)
        assert not thread.is_alive()


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


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/static/app.css", 200),
        ("/v1/user/me", 401),
        ("/nothing", 404),
        ("/admin/login", 200),
        ("/docs", 200),
    ],
)
@pytest.mark.usefixtures("steady")
def test_any_request_starts(steady: Time, app: Flask, cast: Cast, path: str, status: int) -> None:
    add_ended(app, cast)
    steady.seconds += cleanup.FIRST_AFTER_SECONDS
    assert app.test_client().get(path, buffered=True).status_code == status
    wait()
    assert left(app) == NONE


@pytest.mark.parametrize("settings", [{"ENROL_TRUSTED_HOSTS": "users.example.com"}])
def test_untrusted_host_starts(steady: Time, app: Flask, cast: Cast) -> None:
    add_ended(app, cast)
    steady.seconds += cleanup.FIRST_AFTER_SECONDS
    assert app.test_client().get("/healthz").status_code == 400
    wait()
    assert left(app) == NONE


def test_schedule_of_a_new_process(steady: Time, app: Flask, cast: Cast) -> None:
    client = app.test_client()
    for passed, is_due in ((0, False), (9, False), (1, True), (0, False), (59, False), (1, True), (600, True)):
        add_ended(app, cast)
        steady.seconds += passed
        assert client.get("/healthz").status_code == 200
        wait()
        assert left(app) == (NONE if is_due else ALL)
        for table in TABLES:
            execute(app, f"DELETE FROM {table}")


@contextmanager
def held_cleanup(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Let clean-ups begin but not end; yield a list with one entry for each that began."""
    begun: list[int] = []
    end = threading.Event()

    def hold() -> None:
        begun.append(1)
        end.wait(10)

    with monkeypatch.context() as patch:
        patch.setattr(cleanup, "delete_expired", hold)
        try:
            yield begun
        finally:
            end.set()
            wait()


def test_one_at_a_time(steady: Time, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    client = app.test_client()
    with held_cleanup(monkeypatch) as begun:
        start = time.monotonic()
        for _ in range(5):
            steady.seconds += 100
            assert client.get("/healthz").status_code == 200
        assert time.monotonic() - start < 5
        (thread,) = running()
        assert thread.daemon, "the end of the process does not wait for it"
    assert len(begun) == 1
    with held_cleanup(monkeypatch) as begun:
        steady.seconds += 100
        assert client.get("/healthz").status_code == 200
        assert len(running()) == 1


def test_parallel_requests(steady: Time, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    steady.seconds += 100
    together = threading.Barrier(16)
    statuses: list[int] = []

    def ask() -> None:
        together.wait()
        statuses.append(app.test_client().get("/healthz").status_code)

    with held_cleanup(monkeypatch) as begun:
        threads = [threading.Thread(target=ask) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(running()), statuses) == (1, [200] * 16)
    assert len(begun) == 1


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()], ids=["thread", "memory"])
def test_no_thread_available(
    steady: Time, app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(_: threading.Thread) -> None:
        raise error

    add_ended(app, cast)
    client = app.test_client()
    steady.seconds += 100
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        assert client.get("/healthz").status_code == 200
    steady.seconds += 60
    assert client.get("/healthz").status_code == 200
    wait()
    assert left(app) == NONE


@contextmanager
def locked(app: Flask) -> Iterator[None]:
    """Hold a lock that a clean-up needs."""
    address = app.config["SQLALCHEMY_DATABASE_URI"]
    if address.startswith("sqlite"):
        with closing(sqlite3.connect(address.removeprefix("sqlite:///"), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
    else:
        with psycopg.connect(address.replace("+psycopg", "")) as other:
            other.execute("LOCK TABLE admin_sessions")
            yield


def test_locked_database(steady: Time, app: Flask, cast: Cast, events: list[logging.LogRecord]) -> None:
    add_ended(app, cast)
    client = app.test_client()
    with locked(app):
        steady.seconds += 100
        start = time.monotonic()
        assert client.get("/healthz").status_code == 200
        wait()
        assert time.monotonic() - start < 2
    assert [one.getMessage() for one in events] == ["sweep_put_off"]
    steady.seconds += 60
    assert client.get("/healthz").status_code == 200
    wait()
    assert left(app) == NONE


def test_database_away(steady: Time, wire: Wire) -> None:
    app = create_app({**CHEAP, "DATABASE_URL": wire.address})
    client = app.test_client()
    wire.close()
    for _ in range(3):
        steady.seconds += 100
        assert client.get("/healthz").status_code == 200
        wait()
    dispose(app)


@pytest.mark.parametrize(
    ("error", "told"), [(Unavailable("away"), "sweep_put_off"), (ValueError("secret"), "unexpected_error")]
)
def test_fault_is_logged(
    steady: Time,
    app: Flask,
    cast: Cast,
    events: list[logging.LogRecord],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    told: str,
) -> None:
    def fail(**_: object) -> None:
        raise error

    add_ended(app, cast)
    client = app.test_client()
    steady.seconds += 100
    with monkeypatch.context() as patch:
        patch.setattr(database, "writing", fail)
        assert client.get("/healthz").status_code == 200
        wait()
    assert [one.getMessage() for one in events] == [told]
    assert "secret" not in str(vars(events[0]))
    steady.seconds += 60
    assert client.get("/healthz").status_code == 200
    wait()
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
