"""Exact lists: an index has the whole list in its order, so a page costs the same wherever it is.

Two statements for each page, and each is made once.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Integer, bindparam, func, select
from sqlalchemy.orm import Session

from users.services.lists import conditions
from users.services.lists.asked import SHOWN, Asked
from users.storage.lists import ranges
from users.storage.lists.paging import COUNTED, Count
from users.storage.lists.ranges import AnySelect
from users.storage.models import Status, User

_STATEMENTS = 512  # that are kept


def counts(session: Session, asked: Asked, place: str | None) -> tuple[Mapping[Status, Count], str | None]:
    """Return how many users of each status the filters leave, and the sort key of the place, None if it is gone."""
    number = len(asked.segments(Status.ACTIVE))
    values: dict[str, Any] = {"place": place, **asked.values()}
    for status in Status:
        values |= ranges.values(status.name, asked.segments(status))
    row = session.execute(_counts(number, asked.sort.key, bool(asked.role), asked.has_dates), values).one()
    found = {status: Count(min(row[status], COUNTED), row[status] > COUNTED) for status in Status}
    return found, row.place_key


@lru_cache(_STATEMENTS)
def _counts(number: int, key: str, has_role: bool, has_dates: bool) -> AnySelect:
    wanted = _filters(has_role, has_dates)
    each = []
    for status in Status:
        one_by_one = [
            select(User.id).where(User.segment == bindparam(name), *wanted)
            for name in ranges.names(status.name, number)
        ]
        some = ranges.first(ranges.joined(one_by_one), COUNTED + 1).subquery()
        each.append(select(func.count()).select_from(some).scalar_subquery())
    place_key = select(getattr(User, key)).where(User.id == bindparam("place")).scalar_subquery()
    return select(*each, place_key.label("place_key"))


def page(
    session: Session, asked: Asked, statuses: Sequence[Status], place: tuple[str, str] | None, *, back: bool, limit: int
) -> Sequence[User]:
    """Return up to `limit` users beyond the place, an id and its sort key, the nearest first.

    They are those after it in the list's order, or those before it if `back`.
    """
    segments = asked.segments(*statuses)
    values: dict[str, Any] = {**asked.values(), **ranges.values("segment", segments)}
    down = asked.sort.is_down is not back
    if place and asked.has_dates:  # such a list is in the order of the ids, and SQLite looks at one bound of each kind
        end, is_nearer = ("last_id", min) if down else ("first_id", max)
        values[end] = is_nearer(values[end], place[0] if down else f"{place[0]}0")
        place = None
    elif place:
        values |= {"place": place[0], "place_key": place[1]}
    statement = _page(len(segments), asked.sort.key, down, bool(place), bool(asked.role), asked.has_dates, limit)
    return session.scalars(statement, values).all()


@lru_cache(_STATEMENTS)
def _page(number: int, key: str, down: bool, has_place: bool, has_role: bool, has_dates: bool, limit: int) -> AnySelect:
    beyond = conditions.beyond(key, down=down) if has_place else []
    order = list(dict.fromkeys([key, "id"]))
    names, wanted = ranges.names("segment", number), [*_filters(has_role, has_dates), *beyond]
    found = ranges.in_order(names, order, *wanted, down=down, limit=limit).subquery()
    columns = [getattr(User, name) for name in order]
    users = select(User).where(User.id.in_(select(found.c.id)))
    return users.order_by(*[column.desc() if down else column for column in columns])


def oldest(session: Session, asked: Asked, after: str, skip: int, limit: int) -> Sequence[User]:
    """Return up to `limit` users by age: after the id `after`, without the first `skip`."""
    segments = asked.segments(*SHOWN[asked.shown])
    values = {**asked.values(), **ranges.values("segment", segments), "after": after, "skip": skip, "limit": limit}
    return session.scalars(_oldest(len(segments), bool(asked.role)), values).all()


@lru_cache(_STATEMENTS)
def _oldest(number: int, has_role: bool) -> AnySelect:
    names = ranges.names("segment", number)
    after: Any = bindparam("after")
    found = ranges.in_order(names, ["id"], *_filters(has_role, has_dates=False), User.id > after).subquery()
    skip, limit = (bindparam(name, type_=Integer) for name in ("skip", "limit"))
    page = select(found.c.id).order_by(found.c.id).offset(skip).limit(limit)
    return select(User).where(User.id.in_(page)).order_by(User.id)


def first_ids(session: Session, asked: Asked, limit: int) -> Sequence[str]:
    """Return up to `limit` ids of the users of a list, oldest first."""
    segments = asked.segments(*SHOWN[asked.shown])
    values = {**asked.values(), **ranges.values("segment", segments)}
    return session.scalars(_first_ids(len(segments), bool(asked.role), asked.has_dates, limit), values).all()


@lru_cache(_STATEMENTS)
def _first_ids(number: int, has_role: bool, has_dates: bool, limit: int) -> AnySelect:
    names = ranges.names("segment", number)
    found = ranges.in_order(names, ["id"], *_filters(has_role, has_dates), limit=limit).subquery()
    return select(found.c.id)


def _filters(has_role: bool, has_dates: bool) -> Sequence[Any]:
    return [*[conditions.HAS_ROLE] * has_role, *(conditions.created_by_id() if has_dates else [])]
