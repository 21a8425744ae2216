"""The creation of users: effects, refusals, and the audit row in the same transaction."""

import json

import pytest
from flask import Flask
from sqlalchemy.exc import IntegrityError

from support.databases import execute, rows
from support.people import PASSWORD, Cast, as_actor, make_user
from users import clock
from users.actors import Actor, ActorKind
from users.errors import Conflict, Denied, UserNotFound
from users.roles import Permission, Role
from users.rules import validation
from users.rules.emails import parse_email
from users.rules.validation import NewUser
from users.services import api_keys, user_creation, user_queries
from users.services.links import email_verification
from users.storage.models import User


def new(email: str, role: Role | None = None, password: str = PASSWORD) -> NewUser:
    """Return a user to be created."""
    return NewUser(parse_email(email), password, global_role_id=role)


def test_audit_row(app: Flask, cast: Cast) -> None:
    actor = as_actor(app, cast.ada)
    with app.app_context():
        user = user_creation.create_user(new("jo@example.com"), actor=actor)
    found = rows(app, "SELECT * FROM audit_events WHERE target_id = :id", id=user.id)
    assert len(found) == 1
    row = found[0]._asdict()
    assert {name: row[name] for name in ("action", "outcome", "actor_kind", "actor_user_id", "actor_key_id")} == {
        "action": "user.create",
        "outcome": "ok",
        "actor_kind": "key",
        "actor_user_id": cast.ada.id,
        "actor_key_id": actor.key_id,
    }
    assert (row["address"], row["request_id"]) == ("192.0.2.7", "req_12345678")
    fields = row["fields"] if isinstance(row["fields"], list) else json.loads(row["fields"])
    assert fields == ["email", "password"]


def test_audit_row_fails(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    actor = as_actor(app, cast.ada)
    monkeypatch.setattr(user_creation.ids, "new_id", lambda prefix: f"{prefix}_{'5' * 32}")  # type: ignore[attr-defined]
    with app.app_context():
        user_creation.create_user(new("first@example.com"), actor=actor)
        execute(app, "UPDATE users SET id = 'usr_other' WHERE email = 'first@example.com'")
        with pytest.raises(IntegrityError):  # the audit row's id is taken; the user's is not
            user_creation.create_user(new("second@example.com"), actor=actor)
    assert rows(app, "SELECT email FROM users WHERE email = 'second@example.com'") == []


def test_email_of_a_deleted_user(app: Flask) -> None:
    first = make_user(app, "jo@example.com")
    with pytest.raises(Conflict) as conflict:
        make_user(app, "JO@example.com")
    assert conflict.value.user_id == first.id
    execute(app, "UPDATE users SET deleted_at = updated_at WHERE id = :id", id=first.id)
    assert make_user(app, "JO@example.com").id != first.id
    with app.app_context(), pytest.raises(UserNotFound):
        user_queries.get_user(first.id)


def test_ids_sort_by_time(app: Flask) -> None:
    made = [make_user(app, f"user{number}@example.com").id for number in range(30)]
    assert made == sorted(made)
    with app.app_context():
        listed = [user.id for user in user_queries.list_users()]
        assert listed == made
        assert [user.id for user in user_queries.list_users(after=made[9], limit=5)] == made[10:15]
        execute(app, "UPDATE users SET is_active = false WHERE id = :id", id=made[0])
        execute(app, "UPDATE users SET deleted_at = updated_at WHERE id = :id", id=made[1])
        assert [user.id for user in user_queries.list_users()] == [made[0], *made[2:]]
        assert [user.id for user in user_queries.list_users(user_queries.ACTIVE)] == made[2:]


@pytest.mark.parametrize("person", ["ada", "omar", "vera", "sam"])
@pytest.mark.parametrize("role", [None, *Role])
def test_no_grant_of_a_wider_role(app: Flask, cast: Cast, person: str, role: Role | None) -> None:
    actor = as_actor(app, getattr(cast, person))
    may = Permission.USERS_CREATE in actor.permissions and (
        role is None or {Permission.ROLES_ASSIGN, *role.permissions} <= actor.permissions
    )
    with app.app_context():
        if may:
            assert user_creation.create_user(new("jo@example.com", role), actor=actor).global_role_id == role
            return
        with pytest.raises(Denied):
            user_creation.create_user(new("jo@example.com", role), actor=actor)
    assert rows(app, "SELECT id FROM users WHERE email = 'jo@example.com'") == []


def test_assigning_roles(app: Flask) -> None:
    narrow = Actor(
        ActorKind.TERMINAL, frozenset({Permission.USERS_CREATE, Permission.USERS_READ, Permission.ROLES_ASSIGN})
    )
    with app.app_context():
        for role in (Role.ADMIN, Role.OPERATOR, Role.AUDITOR):
            with pytest.raises(Denied):
                user_creation.create_user(new("jo@example.com", role), actor=narrow)
        assert user_creation.create_user(new("jo@example.com", Role.MEMBER), actor=narrow).global_role_id == Role.MEMBER


def test_other_constraint(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    actor = as_actor(app, cast.ada)
    monkeypatch.setattr(user_creation.ids, "new_id", lambda prefix: cast.ada.id)  # type: ignore[attr-defined]
    with app.app_context(), pytest.raises(IntegrityError):
        user_creation.create_user(new("jo@example.com"), actor=actor)


def test_repr_shows_no_secret() -> None:
    """A repr ends up in logs and tracebacks. The internal email key does not appear there either."""
    assert "jo@example.com'" not in repr(new("Jo@example.com"))
    given = {"email": "jo@example.com", "password": "canary password"}
    shown = [
        validation.new_user(given, validation.Rules()),
        validation.user_changes(given, validation.Rules()),
        email_verification.IssuedLink(None, "canary token", clock.now()),  # type: ignore[arg-type]
        api_keys.IssuedKey(key=None, secret="canary key"),  # type: ignore[arg-type]
        User(id="usr_1", email="jo@example.com", password_hash="canary hash"),
    ]
    assert "canary" not in repr(shown)
