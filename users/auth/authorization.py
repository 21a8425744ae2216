"""What an actor may do now: checked when a request arrives, and again inside the transaction of the act.

A body may take a minute to arrive and a hash five seconds to begin. In that time a key may be revoked, an owner or an
administrator deactivated, a role taken away: the second check refuses the act.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, and_, bindparam, select
from sqlalchemy.orm import Session

from users.actors import Actor, ActorKind
from users.auth import key_states, sessions
from users.auth.key_states import KeyState
from users.errors import ApiKeyDeactivated, ApiKeyExpired, AuthenticationRequired
from users.form_errors import SessionEnded
from users.roles import ALL_PERMISSIONS, Permission, permissions_of
from users.storage import database
from users.storage.models import ApiKey, User

# Made once: building a statement takes longer than running it.
_KEY_AND_OWNER = select(
    ApiKey.scopes,
    ApiKey.owner_id,
    ApiKey.expires_at,
    ApiKey.deactivated_at,
    User.global_role_id.label("owner_role"),
    and_(User.is_active, User.deleted_at.is_(None)).label("owner_is_active"),
).outerjoin(User, ApiKey.owner_id == User.id)
_KEY_BY_ID = _KEY_AND_OWNER.where(ApiKey.id == bindparam("id"))
KEY_BY_HASH = _KEY_AND_OWNER.add_columns(ApiKey.id, ApiKey.last_used_at).where(ApiKey.key_hash == bindparam("key_hash"))


def permissions_of_key(key: Any) -> frozenset[Permission]:
    """Return the permissions of a key now: its scopes that its owner also holds. `key` is a row of KEY_BY_HASH.

    Raises ApiKeyDeactivated and ApiKeyExpired.
    """
    state = key_states.state_of(key, owner_is_active=bool(key.owner_is_active))
    if state in (KeyState.REVOKED, KeyState.STOPPED):
        raise ApiKeyDeactivated
    if state == KeyState.EXPIRED:
        raise ApiKeyExpired
    scopes = frozenset(Permission(scope) for scope in key.scopes if scope in ALL_PERMISSIONS)
    return scopes & permissions_of(key.owner_role) if key.owner_id else scopes


@contextmanager
def authorized_transaction(actor: Actor, *permissions: Permission) -> Iterator[tuple[Session, Actor]]:
    """Yield a `database.transaction` and the reauthorized actor, who holds `permissions`.

    Raises the errors of `reauthorize`.
    """
    with database.transaction() as session:
        yield session, reauthorize(session, actor, *permissions)


def require_authorized(actor: Actor, *permissions: Permission) -> None:
    """Raise the errors of `reauthorize`: for a request with a body that only reads."""
    with database.reading() as session:
        reauthorize(session, actor, *permissions)


def reauthorize(transaction: Session | Connection, actor: Actor, *permissions: Permission) -> Actor:
    """Return the actor with the permissions of this moment. One read without a lock: later commits count as later.

    Raises Denied if the actor does not hold `permissions` (any more), ApiKeyDeactivated, ApiKeyExpired, SessionEnded,
    and AuthenticationRequired if the key does not exist any more.
    """
    if actor.kind == ActorKind.KEY:
        key = transaction.execute(_KEY_BY_ID, {"id": actor.key_id}).first()
        if key is None:
            raise AuthenticationRequired
        actor = actor.with_permissions(permissions_of_key(key))
    elif actor.kind == ActorKind.SESSION:
        permissions_now = sessions.find_permissions(transaction, actor.session_hash or b"")
        if permissions_now is None:
            raise SessionEnded
        actor = actor.with_permissions(permissions_now)
    actor.require(*permissions)
    return actor
