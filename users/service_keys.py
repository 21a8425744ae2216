"""The acts on API keys: each one function, in one transaction with its audit row."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from users import audit, clock, database, ids, keys
from users.actors import Actor
from users.audit import Action
from users.errors import KeyNotFound
from users.models import ApiKey, User
from users.refusals import KeyMadeAlready
from users.roles import Permission
from users.validation import NewKey


@dataclass(frozen=True)
class IssuedKey:
    """An API key just made. `secret` is the key itself: this is the only time that it can be seen."""

    key: ApiKey
    secret: str = field(repr=False)


def create_key(
    new: NewKey, *, owner: User | None, lifetime: timedelta | None, actor: Actor, key_id: str | None = None
) -> IssuedKey:
    """Make an API key for `owner`, or a service key for none, ending after `lifetime` if one is given.

    With a `key_id` it is made once, however often it is asked for (the database's primary key decides): after that
    KeyMadeAlready is raised. Raises Denied for scopes that the actor does not hold.
    """
    actor.require(Permission.KEYS_MANAGE, *new.scopes)  # nobody makes a key wider than themselves
    secret = keys.new_key()
    now = clock.now()
    key = ApiKey(
        id=key_id or ids.new_id("akid"),
        prefix=secret[: keys.PREFIX_LENGTH],
        key_hash=keys.digest(secret),
        name=new.name,
        scopes=sorted(new.scopes),
        owner_id=owner.id if owner else None,
        created_at=now,
        expires_at=now + lifetime if lifetime else None,
    )
    try:
        with database.transaction() as session:
            session.add(key)
            audit.record(session, Action.KEY_CREATE, key.id, actor, now, ["name", "scopes", "owner_id", "expires_at"])
    except IntegrityError as error:
        if not database.is_violation(error, "api_keys_pkey", "api_keys.id"):
            raise
        raise KeyMadeAlready from None
    return IssuedKey(key, secret)


def get_key(key_id: str) -> ApiKey:
    """Return the API key with this id, or raise KeyNotFound."""
    with database.reading() as session:
        key = session.get(ApiKey, key_id)
    if key is None:
        raise KeyNotFound
    return key


def list_keys() -> Sequence[ApiKey]:
    """Return all API keys, oldest first."""
    with database.reading() as session:
        return session.scalars(select(ApiKey).order_by(ApiKey.created_at, ApiKey.id)).all()


def revoke_key(key_id: str, *, actor: Actor) -> ApiKey:
    """Stop the API key in every process at once; nothing happens if it is stopped already. Raises KeyNotFound."""
    actor.require(Permission.KEYS_MANAGE)
    with database.transaction() as session:
        key = session.scalar(select(ApiKey).where(ApiKey.id == key_id).with_for_update())
        if key is None:
            raise KeyNotFound
        if key.deactivated_at is None:
            key.deactivated_at = clock.now()
            audit.record(session, Action.KEY_REVOKE, key.id, actor, key.deactivated_at, ["deactivated_at"])
    return key
