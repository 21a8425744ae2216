"""Reads of the audit trail: a page of the events that match a filter, newest first, or all events, oldest first."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, or_, select, union_all

from users import ids
from users.storage.lists import paging
from users.storage.lists.paging import Page
from users.storage.models import AuditEvent


@dataclass(frozen=True)
class EventFilter:
    """The values that events must have; None matches any value."""

    actor_id: str | None = None  # a user's or an API key's
    action: str | None = None
    target_id: str | None = None
    request_id: str | None = None  # Enrol's, or the one that the caller gave
    since: datetime | None = None
    until: datetime | None = None  # exclusive

    def where(self) -> list[ColumnElement[bool]]:
        """Return the SQL conditions. Ids begin with the time, so the index on the ids finds a time."""
        actor = AuditEvent.actor_key_id if ids.is_key_id(self.actor_id or "") else AuditEvent.actor_user_id
        equal = {
            actor: self.actor_id,
            AuditEvent.action: self.action,
            AuditEvent.target_id: self.target_id,
        }
        found = [column == value for column, value in equal.items() if value]
        found += [_is_of_request(self.request_id)] if self.request_id else []
        found += [AuditEvent.id >= ids.first("evt", self.since)] if self.since else []
        return found + ([AuditEvent.id < ids.first("evt", self.until)] if self.until else [])


def _is_of_request(request_id: str) -> ColumnElement[bool]:
    return or_(AuditEvent.request_id == request_id, AuditEvent.client_request_id == request_id)


def newest(
    *wanted: EventFilter, before: str | None = None, after: str | None = None, limit: int = paging.PAGE_SIZE
) -> Page[AuditEvent]:
    """Return the newest page of the events that match one of `wanted`, or the page next to the id `before` or `after`.

    Each filter reads one page by its index. With OR, the database would read and sort all events that match.
    """
    if not wanted:
        return Page([])
    conditions = wanted[0].where()
    if len(wanted) > 1:
        each = [
            paging.next_to(select(AuditEvent.id).where(*one.where()), AuditEvent, before, after, limit)
            for one in wanted
        ]
        conditions = [AuditEvent.id.in_(union_all(*[select(one.subquery()) for one in each]))]
    return paging.newest(AuditEvent, *conditions, before=before, after=after, limit=limit)


def line(event: AuditEvent) -> str:
    """Return the event as a line of an export: JSON in ASCII, so no value can end the line or reorder its text."""
    return json.dumps(event.as_event()) + "\n"


def export(*, after: str = "", since: datetime | None = None, until: datetime | None = None) -> Iterator[AuditEvent]:
    """Yield every event after the id `after`, from `since` on and before `until`, oldest first."""
    after = max(after, ids.first("evt", since) if since else "")
    return paging.oldest_first(AuditEvent, *EventFilter(until=until).where(), after=after)
