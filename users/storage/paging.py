"""Long lists piece by piece: each goes on from the last id of the one before, by the index of the ids.

So a page costs the same wherever it stands, and a whole list no more memory than one piece of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import ColumnElement, select

from users.storage import database
from users.storage.models import ApiKey, AuditEvent

PAGE_SIZE = 25
READ_AT_ONCE = 1000  # rows of a whole list in memory

Row = TypeVar("Row", ApiKey, AuditEvent)


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Some rows, newest first, and the ids from which the pages beside this one start, if there are such."""

    rows: list[Row]
    newer: str | None = None  # rows after this id come before
    older: str | None = None  # rows before this id come next


def newest(
    model: type[Row],
    *wanted: ColumnElement[bool],
    before: str | None = None,
    after: str | None = None,
    limit: int = PAGE_SIZE,
) -> Page[Row]:
    """Return a page of what is `wanted`: the newest, or those next to the id `before` or `after`."""
    query = select(model).where(*wanted).limit(limit + 1)
    if after:
        query = query.where(model.id > after).order_by(model.id)
    else:
        query = query.order_by(model.id.desc())
        query = query.where(model.id < before) if before else query
    with database.reading() as session:
        found = list(session.scalars(query).all())
    more = len(found) > limit  # one was asked for beyond the page, to know
    rows = found[:limit]
    if after:
        rows.reverse()
        return Page(rows, newer=rows[0].id if more else None, older=rows[-1].id if rows else None)
    newer = rows[0].id if rows and before else None
    return Page(rows, newer=newer, older=rows[-1].id if more else None)


def oldest_first(model: type[Row], *wanted: ColumnElement[bool], after: str = "") -> Iterator[Row]:
    """Yield every row made after the id `after` that is `wanted`.

    They are read piece by piece: no transaction stays open while whoever asked takes its time.
    """
    while True:
        query = select(model).where(*wanted, model.id > after).order_by(model.id).limit(READ_AT_ONCE)
        with database.reading() as session:
            rows = session.scalars(query).all()
        if not rows:
            return
        yield from rows
        after = rows[-1].id
