"""Keyset paging: each page starts after the last id of the page before, by the index on the ids.

So all pages of a list cost the same, and reading a whole list takes the memory of one batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, select

from users.storage import database
from users.storage.models import ApiKey, AuditEvent, User

PAGE_SIZE = 25
BATCH_SIZE = 1000  # rows in memory while a whole list is read
COUNTED = 1_000  # rows of a list; more are not counted, so that a count costs the same however many there are

Row = TypeVar("Row", ApiKey, AuditEvent, User)


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Some rows, newest first, and the ids from which the next pages start, None where there is no page."""

    rows: list[Row]
    newer: str | None = None  # the page of newer rows is after this id
    older: str | None = None  # the page of older rows is before this id


@dataclass(frozen=True)
class Count:
    """How many rows there are; if `many`, the count stopped at `number`."""

    number: int
    many: bool = False

    def __str__(self) -> str:
        if not self.many:
            return f"{self.number:,}"
        return f"{self.number // 100 * 100 or self.number:,}+"


def newest(
    model: type[Row],
    *wanted: ColumnElement[bool],
    before: str | None = None,
    after: str | None = None,
    limit: int = PAGE_SIZE,
) -> Page[Row]:
    """Return the newest page of the rows that match `wanted`, or the page next to the id `before` or `after`."""
    query = next_to(select(model).where(*wanted), model, before, after, limit)
    with database.reading() as session:
        found = list(session.scalars(query).all())
    more = len(found) > limit
    rows = found[:limit]
    if after:
        rows.reverse()
        return Page(rows, newer=rows[0].id if more else None, older=rows[-1].id if rows else None)
    newer = rows[0].id if rows and before else None
    return Page(rows, newer=newer, older=rows[-1].id if more else None)


def next_to(query: Select[Any], model: type[Row], before: str | None, after: str | None, limit: int) -> Select[Any]:
    """Return `query` for the rows of one page and, to know whether there are more, one row more."""
    query = query.limit(limit + 1)
    if after:
        return query.where(model.id > after).order_by(model.id)
    return (query.where(model.id < before) if before else query).order_by(model.id.desc())


def oldest_first(model: type[Row], *wanted: ColumnElement[bool], after: str = "") -> Iterator[Row]:
    """Yield all rows with an id after `after` that match `wanted`.

    They are read in batches, so no transaction stays open while the caller works on a row.
    """
    while True:
        query = select(model).where(*wanted, model.id > after).order_by(model.id).limit(BATCH_SIZE)
        with database.reading() as session:
            rows = session.scalars(query).all()
        if not rows:
            return
        yield from rows
        after = rows[-1].id
