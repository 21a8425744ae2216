"""When a clean-up runs: any request starts it, and no request waits for it or fails because of it."""

import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest
from flask import Flask

from app import create_app
from support.application import CHEAP, dispose
from support.clocks import SteadyClock
from support.databases import execute
from support.expired_rows import (
    ALL,
    NONE,
    TABLES,
    add_ended,
    left,
    running,
    wait,
)
from support.people import Cast
from support.postgres_wire import Wire
from users.errors import Unavailable
from users.services import cleanup
from users.storage import database

pytestmark = pytest.mark.one_database


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
def test_any_request_starts(steady: SteadyClock, app: Flask, cast: Cast, path: str, status: int) -> None:
    add_ended(app, cast)
    steady.seconds += cleanup.FIRST_AFTER_SECONDS
    assert app.test_client().get(path, buffered=True).status_code == status
    wait()
    assert left(app) == NONE


@pytest.mark.parametrize("settings", [{"ENROL_TRUSTED_HOSTS": "users.example.com"}])
def test_untrusted_host_starts(steady: SteadyClock, app: Flask, cast: Cast) -> None:
    add_ended(app, cast)
    steady.seconds += cleanup.FIRST_AFTER_SECONDS
    assert app.test_client().get("/healthz").status_code == 400
    wait()
    assert left(app) == NONE


def test_schedule_of_a_new_process(steady: SteadyClock, app: Flask, cast: Cast) -> None:
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


def test_one_at_a_time(steady: SteadyClock, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_parallel_requests(steady: SteadyClock, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
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
    steady: SteadyClock, app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch, error: Exception
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
    url = app.config["SQLALCHEMY_DATABASE_URI"]
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
    else:
        with psycopg.connect(url.replace("+psycopg", "")) as other:
            other.execute("LOCK TABLE admin_sessions")
            yield


def test_locked_database(steady: SteadyClock, app: Flask, cast: Cast, events: list[logging.LogRecord]) -> None:
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


def test_database_away(steady: SteadyClock, wire: Wire) -> None:
    app = create_app({**CHEAP, "DATABASE_URL": wire.url})
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
    steady: SteadyClock,
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
