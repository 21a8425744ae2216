"""The acts that change a user: their effects, their refusals and their audit rows."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask

from support.changes import ACTS, TERMINAL, events, update
from support.databases import execute, rows
from support.people import UNKNOWN_ID, Cast, as_actor, make_key, make_user
from support.visitors import signed_in
from users import clock
from users.actors import Actor, ActorKind
from users.errors import Conflict, Denied, Invalid, UserNotFound
from users.roles import Permission, Role
from users.services import user_changes, user_queries
from users.storage.models import User


@pytest.mark.parametrize("act", ACTS)
def test_no_change_of_a_wider_user(app: Flask, cast: Cast, act: str) -> None:
    make_user(app, "grace@example.com", Role.ADMIN)
    do = ACTS[act]
    omar, vera = as_actor(app, cast.omar), as_actor(app, cast.vera)
    deleter = Actor(ActorKind.TERMINAL, frozenset({Permission.USERS_DELETE, Permission.USERS_UPDATE}))
    with app.app_context():
        for actor, target in ((omar, cast.ada), (omar, cast.vera), (vera, cast.sam), (deleter, cast.ada)):
            with pytest.raises(Denied):
                do(target, actor)
        with pytest.raises(UserNotFound):
            do(User(id=UNKNOWN_ID), as_actor(app, cast.ada))
        with pytest.raises(UserNotFound):
            do(User(id="usr_\0"), as_actor(app, cast.ada))
        do(cast.sam, deleter if act in ("delete", "restore") else omar)
        do(cast.ada, as_actor(app, cast.ada))


@pytest.mark.parametrize("person", ["ada", "omar", "vera", "sam"])
@pytest.mark.parametrize("role", [None, *Role])
def test_no_grant_of_a_wider_role(app: Flask, cast: Cast, person: str, role: Role | None) -> None:
    jo = make_user(app, "jo@example.com", Role.MEMBER)
    with app.app_context():
        if person == "ada" or (person == "omar" and role == Role.MEMBER):  # for Omar this role is no change
            assert update(jo, global_role_id=role, actor=as_actor(app, getattr(cast, person))).global_role_id == role
            return
        with pytest.raises(Denied):
            update(jo, global_role_id=role, actor=as_actor(app, getattr(cast, person)))
        assert user_queries.get_user(jo.id).global_role_id == Role.MEMBER


def test_assigning_roles(app: Flask, cast: Cast) -> None:
    """A permission to assign roles neither gives nor takes what the actor does not hold."""
    held = {Permission.USERS_UPDATE, Permission.ROLES_ASSIGN}
    narrow, wide = (
        Actor(ActorKind.TERMINAL, frozenset(held)),
        Actor(ActorKind.TERMINAL, Role.OPERATOR.permissions | held),
    )
    with app.app_context():
        for role in (Role.ADMIN, Role.OPERATOR, Role.AUDITOR):
            with pytest.raises(Denied):
                update(cast.sam, global_role_id=role, actor=narrow)
        with pytest.raises(Denied):
            update(cast.omar, global_role_id=None, actor=narrow)
        assert update(cast.sam, global_role_id=Role.OPERATOR, actor=wide).global_role_id == Role.OPERATOR
        assert update(cast.omar, global_role_id=None, actor=wide).global_role_id is None


def test_new_password(app: Flask, cast: Cast) -> None:
    with app.app_context():
        user_changes.set_password(cast.sam.id, "ﬁve ﬁne ﬁsh", actor=as_actor(app, cast.ada))
    ((stored,),) = rows(app, "SELECT password_hash FROM users WHERE id = :id", id=cast.sam.id)
    assert stored.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert PasswordHasher().verify(stored, "five fine fish")


@pytest.mark.parametrize(
    ("given", "act", "fields"),
    [
        ({"first_name": "Jo"}, "user.update", ["first_name"]),
        ({"last_name": None, "first_name": "Jo"}, "user.update", ["first_name", "last_name"]),
        ({"email": "jo@example.com"}, "user.update", ["email"]),
        ({"email": "SAM@example.com"}, "user.update", ["email"]),
        ({"global_role_id": "role_member"}, "user.update", ["global_role_id"]),
        ({"password": "another password"}, "user.set_password", ["password"]),
        ({"is_active": False}, "user.deactivate", ["is_active"]),
        ({"is_active": False, "password": "another password"}, "user.update", ["password", "is_active"]),
        ({"last_name": "Stranger", "is_active": True}, None, []),
        ({"first_name": None, "email": "sam@EXAMPLE.com", "global_role_id": None}, None, []),
        ({}, None, []),
    ],
    ids=str,
)
def test_audit_row(app: Flask, given: dict[str, Any], act: str | None, fields: list[str]) -> None:
    sam = make_user(app, "sam@example.com", last_name="Stranger")
    with app.app_context():
        changed = update(sam, **given)
        assert events(app, sam) == ([(act, fields)] if act else [])
        assert (changed.updated_at > sam.updated_at) is bool(act)
        assert user_queries.get_user(sam.id).as_profile() == changed.as_profile()


def test_reactivation(app: Flask, cast: Cast) -> None:
    with app.app_context():
        user_changes.deactivate_user(cast.sam.id, actor=TERMINAL)
        assert update(cast.sam, is_active=True).is_active
    assert events(app, cast.sam) == [("user.deactivate", ["is_active"]), ("user.reactivate", ["is_active"])]


def test_new_email_is_not_verified(app: Flask, cast: Cast) -> None:
    with app.app_context():
        assert user_changes.verify_user(cast.sam.id, actor=TERMINAL).last_verified
        assert update(cast.sam, first_name="Sam").last_verified
        assert update(cast.sam, email="jo@example.com").last_verified is None
    verified = ("user.verify", ["last_verified"])
    assert [event for event in events(app, cast.sam) if event == verified] == [verified]


@pytest.mark.one_database
@pytest.mark.parametrize("spelling", ["Sam@example.com", "ｓａｍ@EXAMPLE.com", " sam＠example.com\u200b"])
def test_another_spelling_stays_verified(app: Flask, cast: Cast, spelling: str) -> None:
    with app.app_context():
        verified = user_changes.verify_user(cast.sam.id, actor=TERMINAL)
        changed = update(cast.sam, email=spelling)
        assert changed.last_verified == verified.last_verified
        assert update(cast.sam, email="jo@example.com").last_verified is None


def test_unchanged_email(app: Flask, cast: Cast) -> None:
    """Its domain may not be allowed any more: a client that sends all fields of a user changes nothing."""
    execute(
        app, "UPDATE users SET email = 'sam@corp.local', email_key = 'sam@corp.local' WHERE id = :id", id=cast.sam.id
    )
    with app.app_context():
        assert update(cast.sam, email=" sam@CORP.local ", first_name="Sam").first_name == "Sam"
        for email in ("SAM@corp.local", "jo@corp.local", "sam@intranet"):
            with pytest.raises(Invalid):
                update(cast.sam, email=email, first_name="Samuel")
            with pytest.raises(Invalid):
                update(cast.omar, email=email)
        with pytest.raises(Denied):  # the answer does not tell whether the user has that email
            update(cast.ada, email="ada@corp.local", actor=as_actor(app, cast.omar))
    assert events(app, cast.sam) == [("user.update", ["first_name"])]


def test_taken_email(app: Flask, cast: Cast) -> None:
    with app.app_context():
        with pytest.raises(Conflict) as conflict:
            update(cast.sam, email="OMAR@example.com", first_name="Omar", password="another password")
        assert conflict.value.details["user_id"] == cast.omar.id
        assert user_queries.get_user(cast.sam.id).as_profile() == cast.sam.as_profile()
    assert events(app, cast.sam) == []


def test_email_changed_at(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cast.sam.email_changed_at is None
    with app.app_context():
        assert update(cast.sam, first_name="Sam", email="sam@example.com").email_changed_at is None
        first = update(cast.sam, email="jo@example.com").email_changed_at
        assert first
        assert first > cast.sam.created_at
        assert update(cast.sam, first_name="Jo").email_changed_at == first
        monkeypatch.setattr(clock, "now", lambda: first)
        second = update(cast.sam, email="sam@example.com").email_changed_at
        assert second
        assert second > first


def test_updated_at(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """It only goes forward: else a tag, or a form for an earlier state, would fit a later one."""
    monkeypatch.setattr(clock, "now", lambda: datetime(2020, 1, 1, tzinfo=UTC))
    seen = [cast.sam.updated_at]
    with app.app_context():
        for number in range(3):
            seen.append(update(cast.sam, first_name=str(number)).updated_at)
        seen.append(user_changes.verify_user(cast.sam.id, actor=TERMINAL).updated_at)
    assert seen == sorted(set(seen))
    assert seen[-1] - seen[0] < timedelta(seconds=1)


@pytest.mark.parametrize(
    ("act", "stays"),
    [
        ("rename", True),
        ("nothing", True),
        ("verify", True),
        ("set_password", False),
        ("deactivate", False),
        ("delete", False),
    ],
)
def test_sessions_end(app: Flask, cast: Cast, act: str, stays: bool) -> None:
    omar = signed_in(app, cast.omar)
    with app.app_context():
        ACTS[act](cast.omar, TERMINAL)
    assert omar.is_in is stays
    assert len(rows(app, "SELECT 1 FROM admin_sessions")) == stays


def test_deleted_user(app: Flask, cast: Cast, api: Any) -> None:
    key = make_key(app, Permission.USERS_READ, owner=cast.omar)
    assert api.get("/v1/user/me", key=key).status_code == 200
    with app.app_context():
        deleted = user_changes.delete_user(cast.omar.id, actor=TERMINAL)
        assert (deleted.is_active, deleted.deleted_at is None) == (False, False)
        for act in (one for name, one in ACTS.items() if name != "restore"):
            with pytest.raises(UserNotFound):
                act(cast.omar, TERMINAL)
        assert [user.id for user in user_queries.list_deleted_users()] == [cast.omar.id]
    assert api.get("/v1/user/me", key=key).json["error"]["code"] == "API_KEY_DEACTIVATED"
    assert events(app, cast.omar) == [("user.delete", [])]
    assert make_user(app, "OMAR@example.com").id != cast.omar.id


def test_deactivated_twice(app: Flask, cast: Cast) -> None:
    with app.app_context():
        for _ in range(2):
            user_changes.deactivate_user(cast.sam.id, actor=as_actor(app, cast.ada))
    assert len(rows(app, "SELECT id FROM audit_events WHERE action = 'user.deactivate'")) == 1
