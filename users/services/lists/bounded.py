"""Bounded lists: the first entries of the narrowest index are read, then filtered and sorted.

For what no index has in its order. What is not read is not denied: a list tells that there was more to read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import and_, bindparam, literal_column, select, true
from sqlalchemy.orm import Session

from users.rules import search_keys
from users.services.lists import conditions
from users.services.lists.asked import SHOWN, Asked
from users.storage.lists import ranges
from users.storage.lists.paging import Count
from users.storage.models import Status, User, status_of

READ = 5_000  # entries for the list
FOUND = 300  # entries for each other status, to count it: each costs a read of its own in the table


@dataclass(frozen=True)
class Entries:
    """The users who were found among the entries that were read."""

    ordered: Sequence[tuple[str, str]]  # the sort key and the id, in the order of the list
    is_partial: bool  # there are more entries than were read
    counts: Mapping[Status, Count | None]  # None where all that is known is that no more was read


class _Group(NamedTuple):
    """Segments that are read together, up to a limit."""

    name: str
    number: int
    limit: int


class _Shape(NamedTuple):
    """What the statement for a list depends on."""

    source: str
    key: str
    down: bool
    searched: tuple[str, ...]
    has_role: bool
    has_dates: bool
    never_signed_in: bool


def read(session: Session, asked: Asked, *, counting: bool = True) -> Entries:
    """Return the users of a list; without `counting`, nothing of the statuses that it does not show."""
    shown = SHOWN[asked.shown]
    others = [status for status in Status if status not in shown and counting]
    segments = {"shown": asked.segments(*shown)} | {status.name: asked.segments(status) for status in others}
    limits = {"shown": READ} | {status.name: FOUND for status in others}
    groups = tuple(_Group(name, len(segments[name]), limits[name]) for name in segments)
    values: dict[str, Any] = dict(asked.values())
    for name in segments:
        values |= ranges.values(name, segments[name])
    rows: list[list[Any]] = [[] for _ in groups]
    for row in session.execute(_statement(_shape(asked), groups), values):
        rows[row.part].append(row)
    ordered = sorted({(row.key or "", row.id) for row in rows[0] if row.matches}, reverse=asked.sort.is_down)
    is_partial = len(rows[0]) > READ
    found = {"shown": rows[0]} | {status.name: some for status, some in zip(others, rows[1:], strict=True)}
    counted = {
        status: _count(found[group], status, is_partial if group == "shown" else len(found[group]) > FOUND)
        for status in Status
        for group in ["shown" if status in shown else status.name]
        if group in found
    }
    return Entries(ordered, is_partial, counted)


def _count(rows: Sequence[Any], status: Status, is_partial: bool) -> Count | None:
    number = len({row.id for row in rows if row.matches and status_of(row.segment) == status})
    return None if is_partial and not number else Count(number, is_partial)


def _shape(asked: Asked) -> _Shape:
    searched = _searched(asked.search_key) if asked.search_key else ()
    sources = {"role": asked.role, "text": searched, "dates": asked.has_dates}
    source = next((name for name, given in sources.items() if given), "order")
    return _Shape(
        source, asked.sort.key, asked.sort.is_down, searched, bool(asked.role), asked.has_dates, asked.never_signed_in
    )


def _searched(search_key: str) -> tuple[str, ...]:
    """Return the columns in which such a text can be: no email has a space, no domain an @."""
    names = ("search_name", "search_last_name")
    if " " in search_key:
        return names
    if "@" in search_key:
        return ("search_email", *names)
    parents = ("search_parents",) if search_keys.parents_key(search_key) else ()
    return ("search_email", "search_domain", *parents, *names)


@lru_cache(512)
def _statement(shape: _Shape, groups: tuple[_Group, ...]) -> Any:
    return ranges.joined(_entries(shape, number, group) for number, group in enumerate(groups))


def _entries(shape: _Shape, part: int, group: _Group) -> Any:
    key: Any = getattr(User, shape.key)
    columns = [
        literal_column(str(part)).label("part"),
        User.segment,
        User.id,
        key.label("key"),
        and_(true(), *_filters(shape)).label("matches"),
    ]
    names = ranges.names(group.name, group.number)
    if shape.source == "text":
        found = [select(*columns).where(User.id == bindparam("key"), User.segment.in_(map(bindparam, names)))]
        for name in names:
            for column in shape.searched:
                # A domain is among those that are the same as or below it.
                is_known = column == "search_domain" and "search_parents" in shape.searched
                begins = conditions.begins_with(column, without_equal=is_known)
                beginning = select(*columns).where(User.segment == bindparam(name), begins)
                found.append(ranges.first(beginning.order_by(getattr(User, column)), group.limit + 1))
        return ranges.first(ranges.joined(found), group.limit + 1)
    # Newest first, but for a list of which an index has the order.
    in_order = shape.source == "order" or shape.key == "id"
    keys = list(dict.fromkeys([shape.key, "id"])) if in_order else ["id"]
    down = shape.down if in_order else True
    order: list[Any] = [getattr(User, name) for name in keys]
    merged = ranges.merged(
        names, columns, *_range(shape), order=[column.desc() if down else column for column in order]
    )
    again = [merged.c[name] for name in (["key", "id"] if len(keys) > 1 else ["id"])]
    return ranges.first(select(merged).order_by(*[one.desc() if down else one for one in again]), group.limit + 1)


def _range(shape: _Shape) -> Sequence[Any]:
    """Return what the index of the source itself tells."""
    dates = conditions.CREATED_IN_RANGE if shape.has_dates and shape.source in ("role", "dates") else ()
    return [*([conditions.HAS_ROLE] if shape.source == "role" else []), *dates]


def _filters(shape: _Shape) -> Sequence[Any]:
    """Return what is looked at after the reading."""
    return [
        *([conditions.found_by(shape.searched)] if shape.searched and shape.source != "text" else []),
        *([conditions.CREATED_IN_RANGE[2], conditions.CREATED_IN_RANGE[3]] if shape.has_dates else []),
        *([conditions.NEVER_SIGNED_IN] if shape.never_signed_in else []),
    ]
