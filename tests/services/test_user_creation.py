"""Creation of users and API keys: effects, refusals, and the audit row in the same transaction."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy.exc import IntegrityError

from support import population
from support.databases import execute, plans_of, rows
from support.people import PASSWORD, Cast, as_actor, make_key, make_user
from users import clock
from users.actors import Actor
from users.errors import Conflict, Denied, KeyNotFound, UserNotFound
from users.form_errors import KeyMadeAlready
from users.roles import Permission, Role
from users.rules import validation
from users.rules.emails import parse_email
from users.rules.validation import NewKey, NewUser
from users.services import api_keys, email_verification, user_creation, user_purge, user_queries
from users.storage.models import User


@pytest.mark.parametrize(
    "read",
    [
        user_queries.list_deleted_users,
        lambda: user_queries.list_deleted_users(after=population.middle_id(3_000)),
        lambda: user_queries.list_users(active_only=True),
        lambda: user_purge.count(clock.now()),
        lambda: user_purge._deleted(clock.now(), ""),
    ],
    ids=["deleted", "deleted after", "active", "to purge", "purged next"],
)
def test_list_uses_the_index_on_status(app: Flask, database_url: str, read: Callable[[], object]) -> None:
    population.populate(database_url, 3_000)
    execute(app, "UPDATE users SET is_active = false WHERE id NOT IN (SELECT id FROM users ORDER BY id DESC LIMIT 30)")
    if database_url.startswith("postgres"):
        execute(app, "ANALYZE users")
    with app.app_context():
        (plan,) = plans_of(read)
    assert "ix_users_status" in plan


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
    monkeypatch.setattr(user_creation.ids, "new_id", lambda prefix: f"{prefix}_same")  # type: ignore[attr-defined]
    with app.app_context():
        user_creation.create_user(new("first@example.com"), actor=actor)
        execute(app, "UPDATE users SET id = 'usr_other' WHERE id = 'usr_same'")
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
        assert [user.id for user in user_queries.list_users(active_only=True)] == made[2:]


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
    narrow = Actor("terminal", frozenset({Permission.USERS_CREATE, Permission.USERS_READ, Permission.ROLES_ASSIGN}))
    with app.app_context():
        for role in (Role.ADMIN, Role.OPERATOR, Role.AUDITOR):
            with pytest.raises(Denied):
                user_creation.create_user(new("jo@example.com", role), actor=narrow)
        assert user_creation.create_user(new("jo@example.com", Role.MEMBER), actor=narrow).global_role_id == Role.MEMBER


def test_managing_keys(app: Flask) -> None:
    narrow = Actor("terminal", frozenset({Permission.KEYS_MANAGE, Permission.USERS_READ}))
    with app.app_context():
        wide = NewKey("key", frozenset({Permission.USERS_READ, Permission.USERS_CREATE}))
        with pytest.raises(Denied):
            api_keys.create_key(wide, owner=None, lifetime=None, actor=narrow)
        same = NewKey("key", frozenset({Permission.USERS_READ}))
        assert api_keys.create_key(same, owner=None, lifetime=None, actor=narrow).key.scopes == ["users:read"]


@pytest.mark.parametrize("person", ["ada", "omar", "vera", "sam"])
def test_no_wider_key(app: Flask, cast: Cast, person: str) -> None:
    actor = as_actor(app, getattr(cast, person))
    with app.app_context():
        for scope in Permission:
            act = NewKey("key", frozenset({scope}))
            if {Permission.KEYS_MANAGE, scope} <= actor.permissions:
                assert api_keys.create_key(act, owner=None, lifetime=None, actor=actor).key.scopes == [scope]
            else:
                with pytest.raises(Denied):
                    api_keys.create_key(act, owner=None, lifetime=None, actor=actor)


def test_revoked_twice(app: Flask, cast: Cast) -> None:
    ada, omar = as_actor(app, cast.ada), as_actor(app, cast.omar)
    make_key(app, Permission.USERS_READ)
    with app.app_context():
        key = list(api_keys.list_keys())[-1]
        first, second = (api_keys.revoke_key(key.id, actor=ada) for _ in range(2))
        assert first.deactivated_at == second.deactivated_at is not None
        with pytest.raises(KeyNotFound):
            api_keys.revoke_key("akid_1", actor=ada)
        with pytest.raises(Denied):
            api_keys.revoke_key(key.id, actor=omar)
    assert len(rows(app, "SELECT id FROM audit_events WHERE action = 'key.revoke'")) == 1


def test_roll_needs_scopes(app: Flask, cast: Cast) -> None:
    make_key(app, Permission.USERS_READ, Permission.USERS_CREATE)
    same = Actor("terminal", frozenset({Permission.KEYS_MANAGE, Permission.USERS_READ, Permission.USERS_CREATE}))

    def roll(key_id: str, permissions: frozenset[Permission], new_id: str = "akid_2") -> api_keys.IssuedKey:
        actor, day = Actor("terminal", permissions), timedelta(days=1)
        return api_keys.roll_key(key_id, ends_in=day, new_id=new_id, lifetime=day, actor=actor)

    with app.app_context():
        (key,) = api_keys.list_keys()
        for missing in same.permissions:
            with pytest.raises(Denied):
                roll(key.id, same.permissions - {missing})
        with pytest.raises(KeyNotFound):
            roll("akid_1", same.permissions)
        issued = roll(key.id, same.permissions)
        assert (issued.key.name, issued.key.scopes, issued.key.owner_id) == (key.name, key.scopes, None)
        assert issued.key.expires_at == issued.key.created_at + timedelta(days=1)
        with pytest.raises(KeyMadeAlready):
            roll(key.id, same.permissions)
        assert len(list(api_keys.list_keys())) == 2


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
