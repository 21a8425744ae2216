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

from users import clock
from users.actors import Actor
from users.auth.authorization import authorized_transaction
from users.bulk.imports.batches import Size
from users.bulk.imports.made import creations_by
from users.errors import Denied, EnrolError, LastAdministrator, UserNotFound
from users.roles import Permission
from users.services.changes import each
from users.storage import database
from users.storage.models import AuditEvent, Import, User

READ_AT_ONCE = 500
FIRST, FEWEST = 50, 25  # users deleted in one transaction, which holds SQLite's one lock


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
    found, size = Undone(), Size(FIRST, fewest=FEWEST)
    for users in _made_by(job):
        deletable = _sort_out(users, found)
        if is_dry:
            found.deleted += len(deletable)
            continue
        while deletable:
            if should_stop():
                return found
            some, deletable = deletable[: size.rows], deletable[size.rows :]
            _delete({user_id: users[user_id] for user_id in some}, actor, found, size)
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


def _delete(made: _Made, actor: Actor, found: Undone, size: Size) -> None:
    """Delete these users in one transaction."""

    def unchanged(user: User) -> None:
        if _reason(user, made[user.id]):
            raise _Changed

    with authorized_transaction(actor, Permission.USERS_DELETE) as (session, now):
        started = clock.monotonic()
        outcome = each.delete(session, sorted(made), actor=now, precondition=unchanged)
        left = Counter(_why(error) for error in outcome.refused.values())
    size.learn(len(made), clock.monotonic() - started)
    found.left.update(left)
    found.deleted += len(outcome.changed)


def _why(error: EnrolError) -> Left:
    for kind, why in _WHY.items():
        if isinstance(error, kind):
            return why
    raise error


_WHY: Mapping[type[EnrolError], Left] = {
    _Changed: Left.CHANGED,
    UserNotFound: Left.DELETED,
    LastAdministrator: Left.LAST_ADMINISTRATOR,
    Denied: Left.NOT_ALLOWED,
}
