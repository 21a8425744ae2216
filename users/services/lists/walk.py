"""A walk by id through all users whom a list asks for, in pages: for exports, where a list would show the first ones.

A page reads a bounded number of entries of an index, however few of them match, so each costs about the same. What an
index finds by a text or a domain is read from that index, unless it is much.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, bindparam, func, select, type_coerce
from sqlalchemy.orm import Session

from users.rules import emails, search_keys
from users.services.lists import bounded, conditions
from users.services.lists.asked import SHOWN, Asked, Sort
from users.storage import database
from users.storage.columns import Rfc3339, UtcDateTime
from users.storage.lists import ranges
from users.storage.lists.ranges import AnySelect
from users.storage.models import User

PAGE_SIZE = 1_000  # entries that a page reads
_NEWEST = select(func.max(User.id))
_AFTER: Any = bindparam("after")
_DOMAIN: Any = bindparam("domain")
_IS_AFTER, _HAS_DOMAIN = User.id > _AFTER, User.search_domain == _DOMAIN
Page = Sequence[Mapping[str, Any]]  # users, by the names of the columns that are asked for


class NoDomain(ValueError):
    """The text is no domain that an email can have."""


@dataclass(frozen=True)
class Domain:
    """The domain of an email: `text` in any of its spellings. Raises NoDomain."""

    text: str
    ascii: str = field(init=False)

    def __post_init__(self) -> None:
        """Read the domain as that of an email."""
        found = emails.possible_emails(f"a@{self.text.removeprefix('@')}")
        if not found:
            raise NoDomain
        object.__setattr__(self, "ascii", found[0].key.rpartition("@")[2])

    def values(self) -> dict[str, str]:
        """Return the values of the parameters of `_in_domain`: other domains may have the same search key."""
        return {"domain": search_keys.query_key(f"@{self.text.removeprefix('@')}"), "ending": f"%@{self.ascii}"}


class _Shape(NamedTuple):
    """What the statement for a page depends on."""

    columns: tuple[str, ...]
    segments: int
    has_role: bool
    has_dates: bool
    never_signed_in: bool
    searched: tuple[str, ...]
    has_domain: bool


def pages(asked: Asked, columns: Sequence[str], *, after: str = "", domain: Domain | None = None) -> Iterator[Page]:
    """Yield these columns of all users after the id `after` whom the list asks for, by id. Times are RFC 3339.

    Each user is as they were when their page was read; users who are made meanwhile come at the end. No connection is
    held between two pages. A page may be empty. Raises Unavailable.
    """
    asked = replace(asked, sort=Sort.OLDEST)
    segments = asked.segments(*SHOWN[asked.shown])
    searched = bounded.searched(asked.search_key) if asked.search_key else ()
    is_in_domain = domain is not None
    shape = _Shape(
        tuple(columns), len(segments), bool(asked.role), asked.has_dates, asked.never_signed_in, searched, is_in_domain
    )
    values: dict[str, Any] = {**asked.values(), **ranges.values("segment", segments)}
    values |= domain.values() if domain else {}
    with database.step(), database.reading() as session:
        newest = session.scalar(_NEWEST) or ""
        few = _few(session, asked, shape, values)
    if few is not None:
        ahead = [one for one in few if after < one <= newest]
        for start in range(0, len(ahead), PAGE_SIZE):
            some = ahead[start : start + PAGE_SIZE]
            yield _matching(shape, _read(_of_ids(shape), {**values, "after": some[0], "ids": some}))
        after = max(after, newest)
    while True:
        read = _read(_next(shape), {**values, "after": after})
        yield _matching(shape, read)
        if len(read) < PAGE_SIZE:
            return
        after = read[-1].place


def _read(statement: AnySelect, values: dict[str, Any]) -> Sequence[Any]:
    """Read a page. By the connection itself: the session's work on each row would take a third of the time."""
    with database.step(), database.reading() as session:
        return session.connection().execute(statement, values).all()


def _matching(shape: _Shape, read: Sequence[Any]) -> Page:
    # By place, as `_matches` orders them: twice as fast as by name.
    return [dict(zip(shape.columns, row[2:], strict=True)) for row in read if row[1]]


def _few(session: Session, asked: Asked, shape: _Shape, values: dict[str, Any]) -> Sequence[str] | None:
    """Return the ids of all users whom an index finds by the text or the domain, None if they are many."""
    if shape.searched:
        entries = bounded.read(session, asked, counting=False)
        return None if entries.is_partial else entries.ordered
    if shape.has_domain:
        found = session.scalars(_of_domain(shape.segments), values).all()
        return None if len(found) > bounded.READ else sorted(found)
    return None


@lru_cache(16)
def _of_domain(segments: int) -> AnySelect:
    each = [
        ranges.first(select(User.id).where(User.segment == bindparam(name), _HAS_DOMAIN), bounded.READ + 1)
        for name in ranges.names("segment", segments)
    ]
    found: AnySelect = ranges.first(select(ranges.joined(each).subquery().c.id), bounded.READ + 1)
    return found


@lru_cache(128)
def _next(shape: _Shape) -> AnySelect:
    """Return the statement for the entries after a place, and what is asked for of those that match."""
    wanted = [*[conditions.HAS_ROLE] * shape.has_role, *(conditions.ID_IN_RANGE if shape.has_dates else ())]
    names = ranges.names("segment", shape.segments)
    return _matches(shape, ranges.in_order(names, ["id"], *wanted, _IS_AFTER, limit=PAGE_SIZE))


@lru_cache(128)
def _of_ids(shape: _Shape) -> AnySelect:
    """Return the statement for the users of the ids who still match."""
    segments: list[Any] = [bindparam(name) for name in ranges.names("segment", shape.segments)]
    has_role = [conditions.HAS_ROLE] * shape.has_role
    ids = User.id.in_(bindparam("ids", expanding=True))
    return _matches(shape, select(User.id).where(ids, User.segment.in_(segments), *has_role))


def _as_read(column: Any) -> Any:
    """Return the column; a time is read as text."""
    return type_coerce(column, Rfc3339()).label(column.key) if isinstance(column.type, UtcDateTime) else column


def _matches(shape: _Shape, found: AnySelect) -> AnySelect:
    """Return the statement for all entries by id; what does not match, has nothing but its place."""
    entries, user = found.subquery(), conditions.SAME
    wanted: list[ColumnElement[bool]] = [
        *[conditions.created(user)] * shape.has_dates,
        *[conditions.never_signed_in(user)] * shape.never_signed_in,
        *[conditions.found_by(user, shape.searched)] * bool(shape.searched),
        *[and_(user.search_domain == _DOMAIN, user.email_key.like(bindparam("ending")))] * shape.has_domain,
    ]
    # The last condition keeps Postgres from looking through all ids before the place.
    same = and_(user.id == entries.c.id, *wanted, user.id >= _AFTER)
    columns = [_as_read(getattr(user, name)) for name in shape.columns]
    place, is_match = entries.c.id.label("place"), user.id.is_not(None).label("is_match")
    return select(place, is_match, *columns).outerjoin_from(entries, user, same).order_by(entries.c.id)
