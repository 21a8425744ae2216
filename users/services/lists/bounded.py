"""Bounded lists: the first entries of the narrowest index are read, then filtered and sorted.

For what no index has in its order. What is not read is not denied: a list tells that there was more to read.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, CompoundSelect, and_, bindparam, literal_column, select, true
from sqlalchemy.orm import Session

from users.rules import search_keys
from users.services.lists import conditions
from users.services.lists.asked import SHOWN, Asked
from users.storage.lists import ranges
from users.storage.lists.paging import Count
from users.storage.lists.ranges import AnySelect
from users.storage.models import Status, User

READ = 5_000  # entries for the list
FOUND = 300  # entries for each other status, to count it: each costs a read of its own in the table


@dataclass(frozen=True)
class Entries:
    """The users who were found among the entries that were read."""

    ordered: Sequence[str]  # their ids, in the order of the list
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
    statement = _statement(_shape(asked), groups, session.get_bind().dialect.name == "postgresql")
    entries, matches = [0] * len(groups), [dict[str, tuple[str, int]]() for _ in groups]
    for part, segment, user_id, key, is_match in session.execute(statement, values).all():
        entries[part] += 1
        if is_match and entries[part] <= groups[part].limit:
            matches[part][user_id] = key or "", segment
    ordered = sorted(((key, user_id) for user_id, (key, _) in matches[0].items()), reverse=asked.sort.is_down)
    is_partial = {group.name: number > group.limit for group, number in zip(groups, entries, strict=True)}
    by_segment = Counter(
        (group.name, segment) for group, some in zip(groups, matches, strict=True) for _, segment in some.values()
    )
    counts: dict[Status, Count | None] = {}
    for status in [*shown, *others]:
        name = "shown" if status in shown else status.name
        number = sum(by_segment[name, segment] for segment in asked.segments(status))
        counts[status] = None if is_partial[name] and not number else Count(number, is_partial[name])
    return Entries([user_id for _, user_id in ordered], is_partial["shown"], counts)


def _shape(asked: Asked) -> _Shape:
    columns = searched(asked.search_key) if asked.search_key else ()
    sources = {"role": asked.role, "text": columns, "dates": asked.has_dates}
    source = next((name for name, given in sources.items() if given), "order")
    return _Shape(
        source, asked.sort.key, asked.sort.is_down, columns, bool(asked.role), asked.has_dates, asked.never_signed_in
    )


def searched(search_key: str) -> tuple[str, ...]:
    """Return the columns in which such a text can be: no email has a space, no domain an @."""
    names = ("search_name", "search_last_name")
    if " " in search_key:
        return names
    if "@" in search_key:
        return ("search_email", *names)
    parents = ("search_parents",) if search_keys.parents_key(search_key) else ()
    return ("search_email", "search_domain", *parents, *names)


@lru_cache(512)
def _statement(shape: _Shape, groups: tuple[_Group, ...], on_postgres: bool) -> CompoundSelect[*tuple[Any, ...]]:
    return ranges.joined(_entries(shape, number, group, on_postgres) for number, group in enumerate(groups))


def _entries(shape: _Shape, part: int, group: _Group, on_postgres: bool) -> AnySelect:
    """Return the statement for the entries of one group: up to its limit, and one more to know of."""
    names, limit = ranges.names(group.name, group.number), group.limit + 1
    if shape.source == "text":
        found = ranges.first(ranges.joined(_found(shape, names, limit)), limit).subquery()
        return _columns(part, found.c, found.c.key, found.c.is_match)
    if shape.source == "order" and shape.key != "id":
        is_match = _is_match(shape, User).label("is_match")
        more = [User.id, is_match]
        found = ranges.in_order(
            names, [shape.key], more=more, down=shape.down, limit=limit, limit_each=on_postgres
        ).subquery()
        return _columns(part, found.c, found.c[shape.key], found.c.is_match)
    # Newest first, but for a list that is itself in this order.
    down = shape.down or shape.key != "id"
    found = ranges.in_order(names, ["id"], *_range(shape), down=down, limit=limit).subquery()
    key = found.c.id if shape.key == "id" else _looked_up(getattr(conditions.SAME, shape.key), found)
    return _columns(part, found.c, key, _looked_up(_is_match(shape, conditions.SAME), found))


def _columns(part: int, found: Any, key: Any, is_match: Any) -> AnySelect:
    part_column: Any = literal_column(str(part)).label("part")
    return select(part_column, found.segment, found.id, key.label("key"), is_match.label("is_match"))


def _looked_up(expression: Any, found: Any) -> Any:
    return conditions.looked_up(expression, found.c.id)


def _found(shape: _Shape, names: Sequence[str], limit: int) -> Iterator[AnySelect]:
    """Yield the statements for what the text finds: one for the ids, and one for each range of an index."""
    key = getattr(User, shape.key).label("key")
    columns = select(User.segment, User.id, key, _is_match(shape, User).label("is_match"))
    yield columns.where(User.id == bindparam("key"), User.segment.in_([bindparam(name) for name in names]))
    for name in names:
        for column in shape.searched:
            # A domain is among those that are the same as or below it.
            is_known = column == "search_domain" and "search_parents" in shape.searched
            begins = conditions.begins_with(User, column, without_equal=is_known)
            in_range = columns.where(User.segment == bindparam(name), begins)
            yield ranges.first(in_range.order_by(getattr(User, column)), limit)


def _range(shape: _Shape) -> Sequence[Any]:
    """Return the conditions that the index of the source tells."""
    return [
        *([conditions.HAS_ROLE] if shape.has_role else []),
        *(conditions.ID_IN_RANGE if shape.has_dates else []),
    ]


def _is_match(shape: _Shape, of: Any) -> ColumnElement[bool]:
    """Return the conditions that are looked at after the reading."""
    return and_(
        true(),
        *([conditions.found_by(of, shape.searched)] if shape.source != "text" and shape.searched else []),
        *([conditions.created(of)] if shape.has_dates else []),
        *([conditions.never_signed_in(of)] if shape.never_signed_in else []),
    )
