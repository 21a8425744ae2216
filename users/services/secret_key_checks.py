"""The secret keys that the database is used with: processes with another key would refuse each other's work.

A table holds check values of up to two keys, so that a key can be changed on one host after another. A check value is a
keyed hash of a fixed text: it recognises the key and does not tell it.
"""

import contextlib
import hmac
from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from users import clock, settings
from users.actors import Actor
from users.audit import trail
from users.audit.trail import Action
from users.errors import Unavailable
from users.roles import Permission
from users.storage import database
from users.storage.models import SecretKeyCheck

KEPT = 2
UNKNOWN = (
    "The database is used with another secret key than this one, so forms, links and repeated requests of one process "
    "fail at another. Give every host the same SECRET_KEY, or the same instance/secret_key. If this key is to be the "
    "only one, run: flask db adopt-key"
)
_TEXT = b"check value of a secret key"
_LOCK = 0x6B6579  # "key", the number of the lock


def is_known() -> bool:
    """Tell whether the database knows this process's key or one of its older keys, or no key at all yet."""
    with database.reading() as session:
        stored = _stored(session)
    return _is_known(stored)


def introduce(*, wait: bool) -> bool:
    """Add this process's key if the database knows none yet, or one of its older keys; tell whether it may serve.

    Only processes that serve call this: a command with another environment must not make its key known. If the
    database cannot write now, or `wait` is false and another transaction holds the lock, nothing is added this time.
    """
    with database.reading() as session:
        stored = _stored(session)
    if _may_add(stored):
        with contextlib.suppress(Unavailable):
            return _add(wait)
    return _is_known(stored)


def adopt(*, actor: Actor) -> None:
    """Make this process's key the only one that the database knows. Raises Denied to all but administrators."""
    actor.require(*Permission)
    now = clock.now()
    with database.transaction() as session:
        database.advisory_lock(session, _LOCK)
        session.execute(delete(SecretKeyCheck))
        session.add(SecretKeyCheck(value=_own()[0], added_at=now))
        trail.record(session, Action.SECRET_KEY_ADOPT, None, actor, now, [])


def _add(wait: bool) -> bool:
    """Add the key unless another process was faster; tell whether this one may serve then."""
    with database.transaction(wait=wait) as session:
        database.advisory_lock(session, _LOCK)
        stored = _stored(session)
        if _may_add(stored):
            session.execute(delete(SecretKeyCheck).where(SecretKeyCheck.value.in_(stored[: 1 - KEPT])))
            session.add(SecretKeyCheck(value=_own()[0], added_at=clock.now()))
            return True
    return _own()[0] in stored


def _is_known(stored: Sequence[bytes]) -> bool:
    return not stored or not set(stored).isdisjoint(_own())


def _may_add(stored: Sequence[bytes]) -> bool:
    own, *older = _own()
    return own not in stored and (not stored or not set(stored).isdisjoint(older))


def _stored(session: Session) -> Sequence[bytes]:
    """Return the stored values, the oldest first."""
    return session.scalars(select(SecretKeyCheck.value).order_by(SecretKeyCheck.added_at, SecretKeyCheck.value)).all()


def _own() -> list[bytes]:
    """Return the check values of this process's key and of its older keys."""
    return [hmac.digest(key.encode(), _TEXT, "sha256") for key in settings.current().secret_keys]
