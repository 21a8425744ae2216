"""The purge of deleted users: all their data goes; the audit trail keeps only their ids."""

import os
import signal
import subprocess
import time
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from support.api import Answer, Api
from support.application import CHEAP, dispose
from support.command_line import run
from support.databases import execute, rows
from support.people import PASSWORD, Cast, make_key
from support.servers import BIN, REPOSITORY
from support.visitors import Visitor, signed_in
from users import clock
from users.actors import Actor, ActorKind, terminal
from users.audit import trail
from users.audit.trail import Action
from users.errors import Denied
from users.roles import Permission, Role
from users.services import user_purge
from users.storage import database
from users.storage.models import User

ACTOR = terminal("req_purge0000000")
DAYS = timedelta(days=1)


def delete(app: Flask, user: User, *, ago: timedelta = 40 * DAYS) -> None:
    """Mark the user as deleted so many days ago."""
    at = clock.now() - ago
    execute(app, "UPDATE users SET is_active = false, deleted_at = :at WHERE id = :id", at=at, id=user.id)


def purge(app: Flask, *, days: int = 30) -> int:
    """Purge the users deleted more than so many days ago; return how many."""
    with app.app_context():
        return user_purge.purge_users(clock.now() - days * DAYS, actor=ACTOR)


def everything(app: Flask) -> str:
    """Return all rows of the database as text."""
    tables = ("users", "api_keys", "admin_sessions", "idempotency_records", "audit_events")
    return "\n".join(str(row) for table in tables for row in rows(app, f"SELECT * FROM {table}"))


def test_deleted_long_ago(app: Flask, cast: Cast) -> None:
    delete(app, cast.sam)
    delete(app, cast.vera, ago=29 * DAYS)
    execute(app, "UPDATE users SET is_active = false WHERE id = :id", id=cast.omar.id)
    assert purge(app) == 1
    assert {row.id for row in rows(app, "SELECT id FROM users")} == {cast.ada.id, cast.omar.id, cast.vera.id}
    assert purge(app) == 0


def test_only_the_id_stays(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api(app.test_client(), make_key(app, *Permission))
    user_id = keyed(api, "1", "gone@example.com", first_name="Gone").json["id"]
    keyed(api, "2", "stays@example.com")
    execute(app, "UPDATE users SET global_role_id = 'role_admin' WHERE id = :id", id=user_id)
    (gone,) = (User(id=row.id, email=row.email) for row in rows(app, "SELECT * FROM users WHERE id = :id", id=user_id))
    make_key(app, *Permission, owner=gone, name="key of the gone")
    monkeypatch.setattr(user_purge, "EVENT_BATCH_SIZE", 2)
    for wrong in ("wrong", "wrong", "wrong"):
        Visitor(app.test_client()).sign_in("gone@example.com", wrong, headers={"X-Forwarded-For": "192.0.2.1"})
    signed_in(app, gone)
    delete(app, gone)
    assert purge(app) == 1
    left = everything(app)
    for trace in ("gone@example.com", "Gone", "key of the gone"):
        assert trace not in left
    assert "stays@example.com" in left
    assert len(rows(app, "SELECT 1 FROM idempotency_records")) == 1
    assert rows(app, "SELECT 1 FROM admin_sessions") == []
    theirs = rows(
        app, "SELECT address FROM audit_events WHERE actor_user_id = :id OR actor_kind = 'visitor'", id=user_id
    )
    assert [row.address for row in theirs] == [None] * 4
    others = rows(app, "SELECT address FROM audit_events WHERE action = 'user.create' AND actor_kind = 'key'")
    assert {row.address for row in others} == {"127.0.0.1"}


@pytest.mark.parametrize("kind", [ActorKind.SETUP, ActorKind.VERIFICATION, ActorKind.VISITOR])
def test_ip_address_of_unknown_actors(app: Flask, cast: Cast, kind: ActorKind) -> None:
    actor = Actor(kind=kind, permissions=frozenset(), ip_address="192.0.2.1")
    with app.app_context(), database.transaction() as session:
        for user in (cast.sam, cast.vera):
            trail.record(session, Action.USER_VERIFY, user.id, actor, clock.now(), [])
    delete(app, cast.sam)
    assert purge(app) == 1
    left = rows(app, "SELECT target_id FROM audit_events WHERE address IS NOT NULL")
    assert [row.target_id for row in left] == [cast.vera.id]


def keyed(api: Api, key: str, email: str, **members: str) -> Answer:
    """Create a user under an Idempotency-Key."""
    body = {"email": email, "password": PASSWORD, **members}
    return api.call("POST", "/v1/user/", headers={"Idempotency-Key": key}, json=body)


def test_audit_row(app: Flask, cast: Cast) -> None:
    for user in (cast.sam, cast.vera):
        delete(app, user)
    assert purge(app) == 2
    found = rows(app, "SELECT * FROM audit_events WHERE action = 'user.purge' ORDER BY target_id")
    assert [row.target_id for row in found] == sorted([cast.sam.id, cast.vera.id])
    for row in found:
        assert (row.actor_kind, row.outcome, row.address, row.request_id) == ("terminal", "ok", None, ACTOR.request_id)
        assert row.fields in ([], "[]")
    for user in (cast.sam, cast.vera):
        acts = rows(app, "SELECT action FROM audit_events WHERE target_id = :id ORDER BY id", id=user.id)
        assert [row.action for row in acts] == ["user.create", "user.purge"]


def test_audit_row_fails(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    delete(app, cast.sam)

    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(user_purge.trail, "record", fail)  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError):
        purge(app)
    assert rows(app, "SELECT 1 FROM users WHERE id = :id", id=cast.sam.id)


def test_needs_permission(app: Flask, cast: Cast) -> None:
    delete(app, cast.sam)
    weak = replace(ACTOR, permissions=Role.OPERATOR.permissions)
    with app.app_context(), pytest.raises(Denied):
        user_purge.purge_users(clock.now(), actor=weak)
    assert rows(app, "SELECT 1 FROM users WHERE id = :id", id=cast.sam.id)


def many(app: Flask, number: int) -> None:
    """Insert so many deleted users, each with an audit event."""
    for start in range(0, number, 100):  # a transaction has only seconds, and a busy machine is slow
        _some(app, range(start, min(start + 100, number)))


def _some(app: Flask, numbers: range) -> None:
    now = clock.now()
    with app.app_context(), database.transaction() as session:
        for one in numbers:
            user_id = f"usr_{one:032x}"
            session.add(
                User(  # only the id matters
                    id=user_id,
                    email=f"gone{one}@example.com",
                    email_key=f"gone{one}@example.com",
                    password_hash="",
                    is_active=False,
                    created_at=now,
                    updated_at=now,
                    deleted_at=now - 40 * DAYS,
                )
            )
            actor = Actor(kind=ActorKind.SESSION, permissions=frozenset(), user_id=user_id, ip_address="192.0.2.1")
            trail.record(session, Action.SESSION_END, user_id, actor, now, [])


def test_batches(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_purge, "USER_BATCH_SIZE", 3)
    many(app, 10)
    assert purge(app) == 10
    assert rows(app, "SELECT 1 FROM users") == []
    assert rows(app, "SELECT 1 FROM audit_events WHERE address IS NOT NULL") == []


@pytest.mark.one_database
def test_killed_purge(app: Flask) -> None:
    many(app, 500)
    dispose(app)
    settings = {**os.environ, **CHEAP, "DATABASE_URL": app.config["SQLALCHEMY_DATABASE_URI"]}
    command = [str(BIN / "flask"), "users", "purge", "--deleted-before", "30d", "--yes"]
    process = subprocess.Popen(command, cwd=REPOSITORY, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while left(app) > 450 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert 0 < left(app) < 500, "it was killed in the middle"
    traced = {row.target_id for row in rows(app, "SELECT target_id FROM audit_events WHERE action = 'user.purge'")}
    there = {row.id for row in rows(app, "SELECT id FROM users")}
    assert len(traced) + len(there) == 500
    assert traced.isdisjoint(there)
    assert purge(app) == len(there)
    assert len(rows(app, "SELECT 1 FROM audit_events WHERE action = 'user.purge'")) == 500


def left(app: Flask) -> int:
    """Return how many users there are."""
    return int(rows(app, "SELECT count(*) FROM users")[0][0])


def test_command(app: Flask, runner: FlaskCliRunner, cast: Cast) -> None:
    delete(app, cast.sam)
    result = run(runner, "users", "purge", "--deleted-before", "30d", "--yes")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "1\n", "Users erased for good:\n")


@pytest.mark.parametrize(("answer", "exit_code"), [("y\n", 0), ("n\n", 1), ("\n", 1)])
def test_confirmation(
    app: Flask, runner: FlaskCliRunner, cast: Cast, monkeypatch: pytest.MonkeyPatch, answer: str, exit_code: int
) -> None:
    monkeypatch.setattr("users.cli.prompts.has_terminal", lambda: True)
    delete(app, cast.sam)
    result = run(runner, "users", "purge", "--deleted-before", "30d", stdin=answer)
    assert result.exit_code == exit_code
    assert "Users to erase for good, with their API keys: 1. Go on?" in result.stderr
    assert left(app) == (3 if exit_code == 0 else 4)


@pytest.mark.parametrize(
    "options", [(), ("--deleted-before", "30d"), ("--deleted-before", "soon", "--yes"), ("--yes",)], ids=" ".join
)
def test_wrong_usage(app: Flask, runner: FlaskCliRunner, cast: Cast, options: tuple[str, ...]) -> None:
    delete(app, cast.sam)
    assert run(runner, "users", "purge", *options).exit_code == 2
    assert left(app) == 4


def test_audit_page(app: Flask, cast: Cast) -> None:
    ada: Any = signed_in(app, cast.ada)
    ada.post(f"/admin/users/{cast.sam.id}/deactivate")
    delete(app, cast.sam)
    assert purge(app) == 1
    page = ada.get(f"/admin/audit?user={cast.sam.id}").text
    assert f'deactivated the erased user <strong><bdi dir="auto">{cast.sam.id}</bdi></strong>' in page
    assert f'erased the user <strong><bdi dir="auto">{cast.sam.id}</bdi></strong> for good' in page


def test_moment_in_the_future(app: Flask, cast: Cast) -> None:
    delete(app, cast.sam, ago=timedelta(seconds=1))
    with app.app_context():
        assert user_purge.count(clock.now()) == 1
        assert user_purge.count(datetime(2000, 1, 1, tzinfo=clock.now().tzinfo)) == 0
