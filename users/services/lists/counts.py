"""Counts of all users, for the overview: each stops at a number, so it costs the same however many there are."""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from sqlalchemy import bindparam, func, select

from users.services.lists import conditions
from users.storage import database
from users.storage.lists import ranges
from users.storage.lists.paging import Count
from users.storage.lists.ranges import AnySelect
from users.storage.models import Status, User, segments

STOP = 10_000


def counts_by_segment(stop: int = STOP) -> Mapping[int, Count]:
    """Return how many users each segment has, counted up to `stop`, in one query."""
    wanted = segments()
    row = database.find(_by_segment(len(wanted), stop), **ranges.values("segment", wanted))
    assert row is not None  # noqa: S101  (it selects no table)
    return {one: _up_to(stop, number) for one, number in zip(wanted, row, strict=True)}


def total(counts: Mapping[int, Count], wanted: Iterable[int], stop: int = STOP) -> Count:
    """Return how many users these segments have together, up to `stop`."""
    counted = [counts[one] for one in wanted]
    number, many = sum(count.number for count in counted), any(count.many for count in counted)
    return Count(min(number, stop), many or number > stop)


def never_signed_in(among: int = STOP) -> Count:
    """Return how many of the newest active users have never signed in, of at most `among`.

    `many` tells that so many were read: there may be older users, of whom nothing is known.
    """
    row = database.find(_never_signed_in(among), **ranges.values("segment", segments([Status.ACTIVE])))
    assert row is not None  # noqa: S101  (it is an aggregate)
    return Count(row.number, row.read >= among)


def _up_to(stop: int, number: int) -> Count:
    return Count(min(number, stop), number > stop)


@lru_cache(8)
def _by_segment(number: int, stop: int) -> AnySelect:
    each = [
        ranges.first(select(User.id).where(User.segment == bindparam(name)), stop + 1).subquery()
        for name in ranges.names("segment", number)
    ]
    return select(*[select(func.count()).select_from(some).scalar_subquery() for some in each])


@lru_cache(8)
def _never_signed_in(among: int) -> AnySelect:
    names = ranges.names("segment", len(segments([Status.ACTIVE])))
    newest = ranges.in_order(names, ["id"], down=True, limit=among).subquery()
    has_not = conditions.looked_up(conditions.never_signed_in(conditions.SAME), newest.c.id)
    return select(func.count().label("read"), func.count().filter(has_not).label("number")).select_from(newest)
