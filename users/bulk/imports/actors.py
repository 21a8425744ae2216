"""Who acts in a job: the actor who asked for it, with what that actor and the one who started it both hold now.

A job outlives the request that asked for it. So it acts for a user, not for one of their sessions.
"""

from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from users.actors import Actor, ActorKind, terminal
from users.auth import authorization
from users.errors import AuthenticationRequired
from users.roles import Permission, permissions_of
from users.storage import database
from users.storage.models import BulkAct, Import, User

_NOTHING = frozenset[Permission]()


def actor_of(job: Import | BulkAct) -> Actor:
    """Return the actor of a job with the permissions of this moment: none if the user or key may not act any more.

    Its audit events have the id of the job as their request id. Raises Unavailable.
    """
    with database.reading() as session:
        return authorize(session, job)


def authorize(transaction: Session | Connection, job: Import | BulkAct) -> Actor:
    """Return what `actor_of` returns, read in the transaction of a step."""
    asked: dict[str, Any] = {"kind": job.actor_kind, "user_id": job.actor_user_id, "key_id": job.actor_key_id}
    permissions = _held(transaction, **asked)
    started_by = getattr(job, "started_by", None)
    if started_by:
        permissions &= _held(transaction, **{name: started_by.get(name) for name in asked})
    return Actor(
        kind=ActorKind(job.actor_kind),
        permissions=permissions,
        user_id=job.actor_user_id,
        key_id=job.actor_key_id,
        ip_address=job.address,
        request_id=job.id,
    )


def _held(
    transaction: Session | Connection, *, kind: str, user_id: str | None, key_id: str | None
) -> frozenset[Permission]:
    if kind == ActorKind.TERMINAL:
        return terminal("").permissions
    if kind == ActorKind.KEY:
        try:
            return authorization.reauthorize(transaction, Actor(ActorKind.KEY, _NOTHING, key_id=key_id)).permissions
        except AuthenticationRequired:  # revoked, expired, or its owner is gone
            return _NOTHING
    active = select(User.global_role_id).where(User.id == user_id, User.is_active, User.deleted_at.is_(None))
    user = transaction.execute(active).first()
    return permissions_of(user.global_role_id) if user else _NOTHING
