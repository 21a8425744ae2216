"""The users that an import has made: the event that tells of them, and the list of them, found by their events."""

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, Connection, func, select
from sqlalchemy.orm import Session

from users import clock, ids
from users.audit import trail
from users.audit.trail import Action
from users.bulk.imports import actors
from users.storage import database
from users.storage.lists import paging
from users.storage.lists.paging import Page
from users.storage.models import AuditEvent, Import, User


def creations_by(job: Import, *, after: str = "") -> Sequence[ColumnElement[bool]]:
    """Return the SQL conditions of the events of the users that the import made, of those after the event `after`.

    The time of the run bounds the ids of the events, which lie side by side: a walk along the ids finds them soonest.
    """
    # `coalesce` keeps the database from the index of the request ids, by which it would sort them all.
    found = [AuditEvent.action == Action.USER_CREATE, func.coalesce(AuditEvent.request_id, "") == job.id]
    if after:
        found.append(AuditEvent.id > after)  # alone: of two bounds SQLite may walk from the lower one
    elif job.started_at:
        found.append(AuditEvent.id >= ids.first("evt", job.started_at - clock.MAY_DIFFER))
    if job.ended_at:
        found.append(AuditEvent.id < ids.first("evt", job.ended_at + clock.MAY_DIFFER))
    return found


def users_made(job: Import, *, before: str | None = None, after: str | None = None) -> Page[User]:
    """Return a page of the users that the import made, newest first. Erased users are left out.

    The page is that of their events: `before` and `after` are ids of events.
    """
    events = paging.newest(AuditEvent, *creations_by(job), before=before, after=after)
    user_ids = [event.target_id for event in events.rows]
    with database.reading() as session:
        found = {user.id: user for user in session.scalars(select(User).where(User.id.in_(user_ids)))}
    return Page([found[one] for one in user_ids if one in found], events.newer, events.older)


def record(transaction: Session | Connection, job: Import) -> None:
    """Add the event of an import that ends and has made users: those of the single users have its id as request id."""
    if job.started_at and job.created:
        actor = actors.authorize(transaction, job)
        trail.record(transaction, Action.USER_IMPORT, job.id, actor, clock.now(), job.columns or [])


def labels_of(import_ids: Iterable[str]) -> dict[str, tuple[str | None, int]]:
    """Return the name of the file and the number of users made for each import that is known."""
    wanted = set(import_ids)
    if not wanted:
        return {}
    with database.reading() as session:
        found = session.execute(select(Import.id, Import.name, Import.created).where(Import.id.in_(wanted)))
        return {row.id: (row.name, row.created) for row in found}
