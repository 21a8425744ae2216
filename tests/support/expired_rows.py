"""Rows that a clean-up deletes, and the clean-ups that run."""

import threading
from datetime import datetime, timedelta

import pytest
from flask import Flask

from support.clocks import SteadyClock
from support.databases import execute, rows
from support.people import Cast
from users import clock

TABLES = ("admin_sessions", "idempotency_records", "setup_links", "throttles")
MOMENT = timedelta(seconds=1)


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> SteadyClock:
    """The steady clock by hand. Name it before `app` in a test, so that the application uses it."""
    moved = SteadyClock()
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
