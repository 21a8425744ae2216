"""What is read of the audit trail: a page of what was asked for, newest first, or all of it, oldest first."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, or_, select

from users import database, ids
from users.models import AuditEvent

PAGE_SIZE = 25
EXPORTED_AT_ONCE = 1000  # rows that an export holds in memory


@dataclass(frozen=True)
class Wanted:
    """What the events have in common; what is None may be anything."""

    actor_id: str | None = None  # a user's or an API key's
    action: str | None = None
    target_id: str | None = None
    request_id: str | None = None  # ours, or the one that the caller gave
    since: datetime | None = None
    until: datetime | None = None  # and not at it

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return this as SQL. An event's id holds the time of its making: the id's own index finds a time."""
        actor = AuditEvent.actor_key_id if ids.is_key_id(self.actor_id or "") else AuditEvent.actor_user_id
        equal = {
            actor: self.actor_id,
            AuditEvent.action: self.action,
            AuditEvent.target_id: self.target_id,
        }
        found = [column == value for column, value in equal.items() if value]
        found += [_is_of_request(self.request_id)] if self.request_id else []
        found += [AuditEvent.id > ids.before("evt", self.since)] if self.since else []
        return found + ([AuditEvent.id < ids.before("evt", self.until)] if self.until else [])


def _is_of_request(request_id: str) -> ColumnElement[bool]:
    return or_(AuditEvent.request_id == request_id, AuditEvent.client_request_id == request_id)


@dataclass(frozen=True)
class Page:
    """Some events, newest first, and the ids from which the pages beside this one start, if there are such."""

    events: list[AuditEvent]
    newer: str | None = None  # events after this id come before
    older: str | None = None  # events before this id come next


def newest(wanted: Wanted, *, before: str | None = None, after: str | None = None, limit: int = PAGE_SIZE) -> Page:
    """Return a page of `wanted`: the newest, or those next to the id `before` or `after`."""
    query = select(AuditEvent).where(*wanted.conditions()).limit(limit + 1)
    if after:
        query = query.where(AuditEvent.id > after).order_by(AuditEvent.id)
    else:
        query = query.order_by(AuditEvent.id.desc())
        query = query.where(AuditEvent.id < before) if before else query
    with database.reading() as session:
        found = list(session.scalars(query).all())
    more = len(found) > limit  # one was asked for beyond the page, to know
    events = found[:limit]
    if after:
        events.reverse()
        return Page(events, newer=events[0].id if more else None, older=events[-1].id if events else None)
    newer = events[0].id if events and before else None
    return Page(events, newer=newer, older=events[-1].id if more else None)


def line(event: AuditEvent) -> str:
    """Return the event as a line of an export: JSON in ASCII, so that no text can end the line or turn it round."""
    return json.dumps(event.as_event()) + "\n"


def export(*, after: str = "", since: datetime | None = None, until: datetime | None = None) -> Iterator[AuditEvent]:
    """Yield every event made after the id `after`, from `since` on and before `until`, oldest first.

    They are read piece by piece: no transaction stays open while whoever asked takes its time.
    """
    last = max(after, ids.before("evt", since) if since else "")
    wanted = select(AuditEvent).where(*Wanted(until=until).conditions())
    while True:
        query = wanted.where(AuditEvent.id > last).order_by(AuditEvent.id).limit(EXPORTED_AT_ONCE)
        with database.reading() as session:
            events = session.scalars(query).all()
        if not events:
            return
        yield from events
        last = events[-1].id
