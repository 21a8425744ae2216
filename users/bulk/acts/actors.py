"""The actor of an act on many users: who asked for it, with what they may do at this moment."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from users.actors import Actor, ActorKind
from users.auth import authorization
from users.roles import ALL_PERMISSIONS, permissions_of
from users.storage.models import BulkAct, User


def actor_of(session: Session, job: BulkAct) -> Actor:
    """Return who asked for the act, with their permissions now. Its request id is the id of the act.

    For a session that is its user: an act outlives the session. Raises the errors of `authorization.reauthorize`.
    """
    actor = asker_of(job)
    if actor.kind is not ActorKind.SESSION:
        return authorization.reauthorize(session, actor)
    active = (User.id == job.actor_user_id, User.is_active, User.deleted_at.is_(None))
    return actor.with_permissions(permissions_of(session.scalar(select(User.global_role_id).where(*active))))


def asker_of(job: BulkAct) -> Actor:
    """Return who asked for the act, for audit events: without permissions, unless it was the command line."""
    kind = ActorKind(job.actor_kind)
    return Actor(
        kind,
        ALL_PERMISSIONS if kind is ActorKind.TERMINAL else frozenset(),
        user_id=job.actor_user_id,
        key_id=job.actor_key_id,
        ip_address=job.address,
        request_id=job.id,
    )
