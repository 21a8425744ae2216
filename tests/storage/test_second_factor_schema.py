"""The schema of second factors beside code of the version before, and the way there and back with rows."""

import secrets
from datetime import datetime

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
