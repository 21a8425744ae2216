"""Users and API keys, made through the services, and the cast: Ada, Omar, Vera and Sam."""

from dataclasses import dataclass

from flask import Flask

from users.actors import Actor, ActorKind, terminal
from users.roles import Permission, Role
from users.rules import validation
from users.rules.validation import NewKey
from users.services import api_keys, user_creation
from users.storage.models import User

PASSWORD = "correct horse battery"
UNKNOWN_ID = "usr_01900000000070008000000000000000"  # of no user


def make_user(
    app: Flask,
    email: str,
    role: Role | None = None,
    password: str = PASSWORD,
    request_id: str = "req_test00000000",
    **names: str,
) -> User:
    """Create a user through the service, as the operator at the terminal."""
    given = {"email": email, "password": password, "global_role_id": role, **names}
    with app.app_context():
        new = validation.new_user(given, validation.Rules(), fields=validation.ADMIN_FIELDS)
        return user_creation.create_user(new, actor=terminal(request_id))


def make_key(app: Flask, *scopes: Permission, owner: User | None = None, name: str = "test") -> str:
    """Make an API key and return the key itself."""
    with app.app_context():
        new = validation.new_key(name, frozenset(scopes))
        return api_keys.create_key(new, owner=owner, lifetime=None, actor=terminal("req_test00000000")).secret


@dataclass(frozen=True)
class Cast:
    """Ada the administrator, Omar the operator, Vera the auditor and Sam, who holds no role."""

    ada: User
    omar: User
    vera: User
    sam: User


def as_actor(app: Flask, user: User) -> Actor:
    """Return `user` as the holder of a key that takes in all their permissions."""
    permissions = Role(user.global_role_id).permissions if user.global_role_id else frozenset[Permission]()
    with app.app_context():
        new = NewKey("of the actor", permissions)
        key = api_keys.create_key(new, owner=user, lifetime=None, actor=terminal("req_test00000000")).key
    return Actor(
        ActorKind.KEY, permissions, user_id=user.id, key_id=key.id, ip_address="192.0.2.7", request_id="req_12345678"
    )
