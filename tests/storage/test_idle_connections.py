"""Idle connections to Postgres are closed after a while, and a process has no more than its setting allows."""

import contextlib
import threading
import time
from typing import Any

import psycopg
import pytest
from flask import Flask
from sqlalchemy import event, text

from support.application import dispose
from users.errors import Unavailable
from users.storage import database, idle_connections
from users.storage.models import db

pytestmark = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)


def _hold_together(app: Flask, count: int) -> set[int]:
    """Use `count` connections at the same time; return the ids of their sessions."""
    with app.app_context(), contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(database.reading()) for _ in range(count)]
        return {int(session.scalar(text("SELECT pg_backend_pid()"))) for session in sessions}


def _wait_until_none_of(pids: set[int], onlooker: "psycopg.Connection[Any]") -> None:
    limit = time.monotonic() + 60
    while onlooker.execute("SELECT 1 FROM pg_stat_activity WHERE pid = ANY(%s)", [list(pids)]).fetchone():
        assert time.monotonic() < limit
        time.sleep(0.01)


def _timers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "idle connections"]


def test_idle_connections_are_closed(
    app: Flask, emptying: "psycopg.Connection[Any]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when no request comes any more; the next one opens them again."""
    monkeypatch.setattr(idle_connections, "CLOSE_AFTER_SECONDS", 0.05)
    first = _hold_together(app, 3)
    _wait_until_none_of(first, emptying)
    second = _hold_together(app, 2)
    assert len(first | second) == 5
    _wait_until_none_of(second, emptying)


def test_connection_in_use_is_not_closed(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that is used often stays: the timer closes what was idle for long, however old."""
    monkeypatch.setattr(idle_connections, "CLOSE_AFTER_SECONDS", 0.4)
    pids = set()
    for seconds in (0.1, 0.1, 0.1, 0.1, 0.1, 0.6):
        with app.app_context(), database.reading() as session:
            time.sleep(seconds)
            pids.add(session.scalar(text("SELECT pg_backend_pid()")))
    assert len(pids) == 1


def test_closed_at_the_moment_of_use(app: Flask) -> None:
    """A connection that the timer closes while a request takes it is replaced."""
    (pid,) = _hold_together(app, 1)
    with app.app_context():
        event.listen(db.engine.pool, "checkout", lambda connection, *_: connection.close(), insert=True, once=True)
    assert _hold_together(app, 1) != {pid}


def test_timer_ends_with_the_connections(app: Flask) -> None:
    before = _timers()
    _hold_together(app, 1)
    (timer,) = set(_timers()) - set(before)
    dispose(app)
    timer.join(5)
    assert not timer.is_alive()


@pytest.mark.parametrize("settings", [{"ENROL_DATABASE_POOL": "2"}])
def test_size_of_the_pool(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more connections than the setting allows; the next request waits in vain."""
    assert len(_hold_together(app, 2)) == 2
    with app.app_context():
        monkeypatch.setattr(db.engine.pool, "_timeout", 0.1)
    with pytest.raises(Unavailable):
        _hold_together(app, 3)
