"""API keys: created, rolled, revoked and read. Each act is one function, in one transaction with its audit row."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import islice

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from users import clock, ids
from users.actors import Actor
from users.audit import trail
from users.audit.trail import Action
from users.auth import key_states
from users.auth.authorization import authorized_transaction
from users.auth.key_states import KeyState
from users.errors import Denied, KeyNotFound, UserNotFound
from users.form_errors import KeyEnded, KeyMadeAlready
from users.roles import Permission
from users.rules import key_format
from users.rules.validation import NewKey
from users.services import user_queries
from users.storage import database, driver_errors
from users.storage.lists import paging
from users.storage.models import ApiKey, User

ROLLED_LIFETIME = timedelta(days=90)  # of a key in the place of one that expires


@dataclass(frozen=True)
class IssuedKey:
    """A new API key. `secret` is the key that the caller sends, which can be shown only this once."""

    key: ApiKey
    secret: str = field(repr=False)
    old: ApiKey | None = None  # the key that it replaces


def create_key(
    new: NewKey, *, owner: User | None, lifetime: timedelta | None, actor: Actor, key_id: str | None = None
) -> IssuedKey:
    """Create an API key of `owner`, or a service key if that is None. It expires after `lifetime` if that is given.

    A second call with the same `key_id` raises KeyMadeAlready. Raises Denied for scopes that the actor does not hold,
    and UserNotFound if the owner has been deleted.
    """
    actor.require_confirmation()
    issued = _new(new.name, sorted(new.scopes), owner.id if owner else None, lifetime, key_id or ids.new_id("akid"))
    with _key_creation(actor, *new.scopes) as (session, actor):
        if owner:
            _lock_owner(session, owner.id)
        _insert(session, issued.key, actor)
    return issued


def roll_key(
    key_id: str,
    *,
    ends_in: timedelta,
    new_id: str,
    lifetime: timedelta | None,
    actor: Actor,
    precondition: Callable[[ApiKey], None] | None = None,
) -> IssuedKey:
    """Create a key with the name, scopes and owner of this one, which works for `ends_in` more, at most to its expiry.

    The new key has the id `new_id` and expires after `lifetime` if that is given. A second call with the same `new_id`
    raises KeyMadeAlready. `precondition` is called with the old key, locked: an error that it raises stops the act.
    Raises KeyNotFound, KeyEnded, and Denied for scopes that the actor does not hold.
    """
    actor.require_confirmation()
    with _key_creation(actor) as (session, actor):
        old = _locked(session, key_id)
        require_scopes(old, actor)
        issued = _new(old.name, old.scopes, old.owner_id, lifetime, new_id)
        _insert(session, issued.key, actor)  # first, so that a form sent twice gets KeyMadeAlready
        now = issued.key.created_at
        owner = session.get(User, old.owner_id) if old.owner_id else None
        is_active = owner is not None and owner.is_active and owner.deleted_at is None
        if key_states.state_of(old, owner_is_active=is_active) != KeyState.ACTIVE:
            raise KeyEnded
        if precondition:
            precondition(old)
        end = now + ends_in
        # It always changes: a form compares it to see whether the key was rolled meanwhile.
        old.expires_at = min(end, old.expires_at - timedelta(microseconds=1)) if old.expires_at else end
        trail.record(session, Action.KEY_ROLL, old.id, actor, now, ["expires_at"])
    return replace(issued, old=old)


def suggested_lifetime(old: ApiKey) -> timedelta | None:
    """Return how long the key in the place of `old` should work if the caller does not say it; None for ever."""
    return ROLLED_LIFETIME if old.expires_at else None


def require_scopes(key: ApiKey, actor: Actor) -> None:
    """Raise Denied if the key has scopes that the actor does not hold, who may not roll it then."""
    missing = set(key.scopes) - actor.permissions
    if missing:
        raise Denied(missing)


def get_key(key_id: str) -> ApiKey:
    """Return the API key with this id, or raise KeyNotFound."""
    with database.reading() as session:
        key = session.get(ApiKey, key_id)
    if key is None:
        raise KeyNotFound
    return key


def list_keys() -> Iterator[ApiKey]:
    """Yield all API keys, oldest first."""
    return paging.oldest_first(ApiKey)


def list_keys_with_states() -> Iterator[tuple[ApiKey, KeyState]]:
    """Yield all API keys, oldest first, each with its state."""
    keys = list_keys()
    while batch := list(islice(keys, paging.BATCH_SIZE)):
        states = states_of(batch)
        yield from ((key, states[key.id]) for key in batch)


def states_of(keys: Sequence[ApiKey]) -> dict[str, KeyState]:
    """Return the states of these API keys now, by id."""
    inactive = user_queries.inactive_among(key.owner_id for key in keys)
    return {key.id: key_states.state_of(key, owner_is_active=key.owner_id not in inactive) for key in keys}


def has_key() -> bool:
    """Tell whether there is an API key."""
    with database.reading() as session:
        return session.scalar(select(ApiKey.id).limit(1)) is not None


def newest_active() -> ApiKey | None:
    """Return the newest of the last keys that works now, None if none does."""
    newest = paging.newest(ApiKey).rows
    states = states_of(newest)
    return next((key for key in newest if states[key.id] == KeyState.ACTIVE), None)


def labels_of(key_ids: Iterable[str | None]) -> Mapping[str, tuple[str, str]]:
    """Return the name and the prefix of each of these API keys, by id."""
    wanted = {key_id for key_id in key_ids if key_id}
    with database.reading() as session:
        found = session.execute(select(ApiKey.id, ApiKey.name, ApiKey.prefix).where(ApiKey.id.in_(wanted))).all()
    return {row.id: (row.name, row.prefix) for row in found}


def revoke_key(key_id: str, *, actor: Actor) -> ApiKey:
    """Revoke the API key, in every process at once. If it is revoked already, nothing happens. Raises KeyNotFound."""
    with authorized_transaction(actor, Permission.KEYS_MANAGE) as (session, actor):
        key = _locked(session, key_id)
        if key.deactivated_at is None:
            _revoke(session, key, actor)
    return key


def revoke_all_of(session: Session, owner_ids: Sequence[str], actor: Actor) -> None:
    """Revoke the keys of these users that are not revoked yet, in the caller's transaction."""
    theirs = select(ApiKey).where(ApiKey.owner_id.in_(owner_ids), ApiKey.deactivated_at.is_(None))
    for key in session.scalars(theirs.order_by(ApiKey.id).with_for_update()).all():
        _revoke(session, key, actor)


def _revoke(session: Session, key: ApiKey, actor: Actor) -> None:
    key.deactivated_at = clock.now()
    trail.record(session, Action.KEY_REVOKE, key.id, actor, key.deactivated_at, ["deactivated_at"])


def _locked(session: Session, key_id: str) -> ApiKey:
    """Return the key, locked until the end of the transaction."""
    key = session.scalar(select(ApiKey).where(ApiKey.id == key_id).with_for_update())
    if key is None:
        raise KeyNotFound
    return key


def _lock_owner(session: Session, owner_id: str) -> None:
    """Lock the owner against erasure until the end of the transaction, or raise UserNotFound."""
    present = select(User.id).where(User.id == owner_id, User.deleted_at.is_(None))
    if session.scalar(present.with_for_update(read=True, key_share=True)) is None:
        raise UserNotFound


def _new(name: str, scopes: list[str], owner_id: str | None, lifetime: timedelta | None, key_id: str) -> IssuedKey:
    secret, now = key_format.new_key(), clock.now()
    key = ApiKey(
        id=key_id,
        prefix=secret[: key_format.PREFIX_LENGTH],
        key_hash=key_format.digest(secret),
        name=name,
        scopes=scopes,
        owner_id=owner_id,
        created_at=now,
        expires_at=now + lifetime if lifetime else None,
    )
    return IssuedKey(key, secret)


def _insert(session: Session, key: ApiKey, actor: Actor) -> None:
    session.add(key)
    session.flush()
    fields = ["name", "scopes", "owner_id", "expires_at"]
    trail.record(session, Action.KEY_CREATE, key.id, actor, key.created_at, fields)


@contextmanager
def _key_creation(actor: Actor, *scopes: Permission) -> Iterator[tuple[Session, Actor]]:
    """Yield `authorized_transaction` to make a key with these scopes.

    Raises KeyMadeAlready: the primary key of the database decides.
    """
    try:
        with authorized_transaction(actor, Permission.KEYS_MANAGE, *scopes) as authorized:
            yield authorized
    except IntegrityError as error:
        if not driver_errors.is_violation(error, "api_keys_pkey", "api_keys.id"):
            raise
        raise KeyMadeAlready from None
