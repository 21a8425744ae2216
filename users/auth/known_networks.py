"""The networks from which users have signed in at other applications: the last 8 of each user, as keyed hashes."""

import hashlib
import hmac
from typing import Any

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.orm import Session

from users import clock, settings
from users.storage import database
from users.storage.models import KnownNetwork

KEPT = 8  # of one user
_NETWORKS: Any = KnownNetwork.__table__
_FORGET = delete(_NETWORKS).where(_NETWORKS.c.user_id.in_(bindparam("user_ids", expanding=True)))


def is_known(user_id: str, network: str) -> bool:
    """Tell whether the user has signed in from this network; false for an unknown user."""
    theirs = select(KnownNetwork.user_id).where(KnownNetwork.user_id == user_id)
    with database.reading() as session:
        return session.scalar(theirs.where(KnownNetwork.network.in_(_digests(user_id, network)))) is not None


def remember(session: Session, user_id: str, network: str) -> None:
    """Store that the user, whose row is locked, has signed in from this network now."""
    now, digests = clock.now(), _digests(user_id, network)
    theirs = KnownNetwork.user_id == user_id
    newest, *older = digests
    if older:
        session.execute(delete(KnownNetwork).where(theirs, KnownNetwork.network.in_(older)))
    seen = update(KnownNetwork).where(theirs, KnownNetwork.network == newest).values(last_used_at=now)
    if not session.execute(seen, execution_options={"preserve_rowcount": True}).rowcount:  # type: ignore[attr-defined]
        session.add(KnownNetwork(user_id=user_id, network=newest, last_used_at=now))
        session.flush()
        last = select(KnownNetwork.network).where(theirs).order_by(KnownNetwork.last_used_at.desc()).limit(KEPT)
        session.execute(delete(KnownNetwork).where(theirs, KnownNetwork.network.not_in(last)))


def forget(session: Session, user_ids: list[str]) -> None:
    """Forget the networks of these users."""
    session.execute(_FORGET, {"user_ids": user_ids})


def _digests(user_id: str, network: str) -> list[bytes]:
    """Return what the table holds of a network of this user: by today's secret key, then by older ones."""
    named = f"network {network} of {user_id}".encode("utf-8", "surrogatepass")
    return [hmac.digest(secret.encode(), named, hashlib.sha256) for secret in settings.current().secret_keys]
