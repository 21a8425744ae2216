"""An import is taken back: the users whom it made are deleted, but for those who have changed or signed in since.

They are found in the audit trail, where the id of the import is the request id of each creation.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from users.actors import Actor
from users.auth.authorization import authorized_transaction
from users.bulk.imports.made import creations_by
from users.errors import Denied, EnrolError, LastAdministrator, UserNotFound
from users.roles import Permission
from users.services import user_changes
from users.storage import database
from users.storage.models import AuditEvent, Import, User

READ_AT_ONCE = 500
DELETED_AT_ONCE = 20  # in one transaction: a user takes about 2 ms of SQLite's one lock


class Left(StrEnum):
    """Why a user stays, in words."""

    CHANGED = "changed since"
    SIGNED_IN = "signed in since"
    DELETED = "deleted already"
    LAST_ADMINISTRATOR = "the last active administrator"
    NOT_ALLOWED = "not yours to delete"


@dataclass
class Undone:
    """How many users were deleted, or would be, and how many stay and why."""

    deleted: int = 0
    left: Counter[Left] = field(default_factory=Counter)


class _Changed(EnrolError):
    """The user has changed since the batch was read."""


_Made = Mapping[str, datetime]  # the ids of users, and when the import made them


def undo(
    job: Import,
    *,
    actor: Actor,
    is_dry: bool = False,
    on_progress: Callable[[Undone], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Undone:
    """Delete the users whom an import made and who are as it made them; `is_dry` only counts them.

    Each deletion has its audit event, and few are in one transaction. It can be stopped and done again. Raises Denied,
    Unavailable and the errors of `authorization.reauthorize`.
    """
    actor.require(Permission.USERS_DELETE)
    actor.require_confirmation()
    found = Undone()
    for users in _made_by(job):
        deletable = _sort_out(users, found)
        if is_dry:
            found.deleted += len(deletable)
            continue
        for start in range(0, len(deletable), DELETED_AT_ONCE):
            if should_stop():
                return found
            _delete({user_id: users[user_id] for user_id in deletable[start : start + DELETED_AT_ONCE]}, actor, found)
            if on_progress:
                on_progress(found)
    return found


def _made_by(job: Import) -> Iterator[_Made]:
    """Yield the users whom the import made, some at a time. Those who were erased since are among them."""
    if job.started_at is None:
        return
    creations = select(AuditEvent.id, AuditEvent.target_id, AuditEvent.at)
    after = ""
    while True:
        some = creations.where(*creations_by(job, after=after)).order_by(AuditEvent.id).limit(READ_AT_ONCE)
        with database.reading() as session:
            events = session.execute(some).all()
        if not events:
            return
        yield {event.target_id: event.at for event in events}
        after = events[-1].id


def _sort_out(made: _Made, found: Undone) -> Sequence[str]:
    """Return the ids of those who are as they were made, and count why the others stay."""
    facts = select(User.id, User.updated_at, User.last_login, User.deleted_at).where(User.id.in_(list(made)))
    with database.reading() as session:
        users = session.execute(facts).all()
    reasons = {user.id: _reason(user, made[user.id]) for user in users}
    found.left.update(reason for reason in reasons.values() if reason)
    if erased := len(made) - len(users):
        found.left[Left.DELETED] += erased
    return [user_id for user_id, reason in reasons.items() if reason is None]


def _reason(user: Any, made_at: datetime) -> Left | None:
    if user.deleted_at is not None:
        return Left.DELETED
    if user.last_login is not None:
        return Left.SIGNED_IN
    return Left.CHANGED if user.updated_at != made_at else None


def _delete(made: _Made, actor: Actor, found: Undone) -> None:
    """Delete these users in one transaction."""

    def unchanged(user: User) -> None:
        if _reason(user, made[user.id]):
            raise _Changed

    with authorized_transaction(actor, Permission.USERS_DELETE) as (session, now):
        left = [_delete_one(session, user_id, now, unchanged) for user_id in sorted(made)]
    found.left.update(reason for reason in left if reason)
    found.deleted += left.count(None)


def _delete_one(session: Session, user_id: str, actor: Actor, unchanged: Callable[[User], None]) -> Left | None:
    """Delete a user, and return why they stay if they do."""
    try:
        user_changes.delete(session, user_id, actor=actor, precondition=unchanged)
    except _Changed:
        return Left.CHANGED
    except UserNotFound:
        return Left.DELETED
    except LastAdministrator:
        return Left.LAST_ADMINISTRATOR
    except Denied:
        return Left.NOT_ALLOWED
    return None
