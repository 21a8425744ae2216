"""What is read of the audit trail: a page of what was asked for, newest first, or all of it, oldest first."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, or_

from users import ids
from users.storage import paging
from users.storage.models import AuditEvent
from users.storage.paging import Page


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


def newest(
    wanted: Wanted, *, before: str | None = None, after: str | None = None, limit: int = paging.PAGE_SIZE
) -> Page[AuditEvent]:
    """Return a page of `wanted`: the newest, or those next to the id `before` or `after`."""
    return paging.newest(AuditEvent, *wanted.conditions(), before=before, after=after, limit=limit)


def line(event: AuditEvent) -> str:
    """Return the event as a line of an export: JSON in ASCII, so that no text can end the line or turn it round."""
    return json.dumps(event.as_event()) + "\n"


def export(*, after: str = "", since: datetime | None = None, until: datetime | None = None) -> Iterator[AuditEvent]:
    """Yield every event made after the id `after`, from `since` on and before `until`, oldest first."""
    after = max(after, ids.before("evt", since) if since else "")
    return paging.oldest_first(AuditEvent, *Wanted(until=until).conditions(), after=after)
