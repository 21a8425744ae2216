"""How many users there are of each kind. Each count stops at COUNTED, so it costs the same however many there are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ScalarSelect, case, func, literal_column, select, union_all

from users.storage import database
from users.storage.lists.paging import Count
from users.storage.models import Status, User, segments

COUNTED = 10_000
_LISTED = (Status.ACTIVE, Status.DEACTIVATED)


@dataclass(frozen=True)
class UserCounts:
    """How many users are of each kind. Those who were deleted count only as `deleted`."""

    active: Count
    deactivated: Count
    deleted: Count
    without_password: Count
    unverified: Count
    never_signed_in: Count  # of the newest COUNTED active users; `many` if there are more, who were not read


def read() -> UserCounts:
    """Count the users in one query. Raises Unavailable."""
    with database.reading() as session:
        numbers = session.execute(_COUNTS).one()
    active, *others = [Count(min(number, COUNTED), number > COUNTED) for number in numbers]
    deactivated, deleted, without_password, unverified, never = others
    never = Count(never.number, active.many)
    return UserCounts(active, deactivated, deleted, without_password, unverified, never)


def _first(query: Any, number: int) -> Any:
    """Return the first rows. Postgres must know the number to find a good plan, so it is no parameter."""
    return query.limit(literal_column(str(number)))


def _number(wanted: Sequence[int]) -> ScalarSelect[int]:
    each = [_first(select(User.id).where(User.segment == one), COUNTED + 1) for one in wanted]
    some = _first(union_all(*[select(one.subquery()) for one in each]), COUNTED + 1)
    return select(func.count()).select_from(some.subquery()).scalar_subquery()


def _never_signed_in(wanted: Iterable[int]) -> ScalarSelect[int]:
    newest = select(User.id, User.last_login).order_by(User.id.desc())  # no index has the last sign-in
    each = union_all(*[select(newest.where(User.segment == one).subquery()) for one in wanted]).subquery()
    read = _first(select(each).order_by(each.c.id.desc()), COUNTED).subquery()
    return select(func.count(case((read.c.last_login.is_(None), 1)))).scalar_subquery()


_COUNTS = select(
    *[_number(segments([status])) for status in (Status.ACTIVE, Status.DEACTIVATED, Status.DELETED)],
    _number(segments(_LISTED, has_password=False)),
    _number(segments(_LISTED, verified=False)),
    _never_signed_in(segments([Status.ACTIVE])),
)
