"""The schema of second factors beside code of the version before, and the way there and back with rows."""

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from support.databases import execute, rows
from support.factors import CONFIRM, FACTORS, add_app, fully_signed_in, half_signed_in
from support.people import Cast
from support.visitors import Visitor, signed_in
from users import clock
from users.auth import sessions
from users.storage.models import User

# What code of schema 0009 writes.
INSERT = "INSERT INTO admin_sessions (id_hash, user_id, created_at, last_seen_at) VALUES (:hash, :user, :at, :at)"


def older_session(app: Flask, user: User, at: datetime) -> Visitor:
    """Return a browser in which code of schema 0009 has signed in the user."""
    visitor, session_id = Visitor(app.test_client()), secrets.token_urlsafe(32)
    execute(app, INSERT, hash=sessions.digest(session_id), user=user.id, at=at)
    visitor.session_id = session_id
    return visitor


def test_session_of_older_code(app: Flask, cast: Cast) -> None:
    """It goes on; as it says nothing of a proof, the user confirms before an act that asks for one."""
    visitor = older_session(app, cast.ada, clock.now())
    assert visitor.get("/admin/users").status_code == 200
    assert visitor.get(f"{FACTORS}/passkey").location.partition("?")[0] == CONFIRM


def test_older_code_erases_a_user(app: Flask, cast: Cast) -> None:
    """It does not know the tables of second factors: their rows go with the user."""
    add_app(app, cast.vera)
    execute(app, "DELETE FROM api_keys WHERE owner_id = :id", id=cast.vera.id)
    execute(app, "DELETE FROM users WHERE id = :id", id=cast.vera.id)
    assert rows(app, "SELECT id FROM second_factors") == rows(app, "SELECT user_id FROM recovery_codes") == []


def test_downgrade_and_upgrade(app: Flask, cast: Cast, runner: FlaskCliRunner) -> None:
    """Whole sessions go on; one that awaits its factor ends, which older code would take for a whole one."""
    mine = add_app(app, cast.ada)
    half, whole, other = half_signed_in(app, cast.ada), fully_signed_in(app, cast.ada, mine), signed_in(app, cast.omar)
    for act in (["downgrade", "0009"], ["upgrade"]):
        assert runner.invoke(args=["db", *act]).exit_code == 0
    assert [one.is_in for one in (half, whole, other)] == [False, True, True]
    assert rows(app, "SELECT count(*) FROM admin_sessions")[0][0] == 2
    assert rows(app, "SELECT id FROM second_factors") == []


@contextmanager
def upgrade_that_waits(app: Flask, runner: FlaskCliRunner) -> Iterator[None]:
    """Upgrade schema 0009 in a thread, from the time at which the upgrade waits for a lock; it must succeed."""
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(runner.invoke(args=["db", "upgrade"]).exit_code))
    thread.start()
    until = time.monotonic() + 60
    while not rows(app, "SELECT 1 FROM pg_locks WHERE NOT granted") and time.monotonic() < until:
        time.sleep(0.01)
    yield
    thread.join(60)
    assert codes == [0]


@pytest.fixture
def older(app: Flask, cast: Cast, runner: FlaskCliRunner, database_url: str) -> Iterator[psycopg.Connection]:
    """A transaction of a server of schema 0009, on that schema; none of its statements may wait for a second."""
    assert runner.invoke(args=["db", "downgrade", "0009"]).exit_code == 0
    with psycopg.connect(database_url) as connection:
        connection.execute("SET statement_timeout = '950ms'")
        yield connection


on_postgres = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
SIGN_IN = "INSERT INTO admin_sessions (id_hash, user_id, created_at, last_seen_at) VALUES ('x', %s, now(), now())"


@on_postgres
def test_upgrade_beside_a_sign_in(app: Flask, cast: Cast, runner: FlaskCliRunner, older: psycopg.Connection) -> None:
    """There is no deadlock: each has locked the table that the other one asks for."""
    older.execute(SIGN_IN, [cast.ada.id])
    with upgrade_that_waits(app, runner):
        older.execute("UPDATE users SET last_login = now() WHERE id = %s", [cast.ada.id])
        older.commit()
    assert rows(app, "SELECT awaits_factor FROM admin_sessions") == [(False,)]


@on_postgres
def test_upgrade_beside_a_backup(
    app: Flask, cast: Cast, runner: FlaskCliRunner, older: psycopg.Connection, database_url: str
) -> None:
    """A sign-in does not wait for the long transaction that the upgrade waits for."""
    with psycopg.connect(database_url) as backup:
        backup.execute("SELECT * FROM admin_sessions")
        with upgrade_that_waits(app, runner):
            for _ in range(3):
                older.execute("UPDATE users SET last_login = now() WHERE id = %s", [cast.ada.id])
                older.execute("DELETE FROM admin_sessions")
                older.commit()
                time.sleep(0.2)
            backup.commit()
