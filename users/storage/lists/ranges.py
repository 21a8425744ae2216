"""Ranges of the indexes that begin with the segment, read as one list in its order.

Both databases merge such ranges lazily, however many rows each has: they read few more entries than they return. That
needs the order in each range as well as in the query around them.

The segments are parameters, and limits are written into the statement: so there are few statements, and Postgres finds
a plan for all values once it has prepared one. With a limit that it does not know it would sort whole ranges.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, Select, bindparam, literal_column, select, union_all

from users.storage.models import User

Column = Any  # an attribute of User, or an expression of them
AnySelect = Select[*tuple[Any, ...]]


def names(group: str, number: int) -> Sequence[str]:
    """Return the names of the parameters for so many segments."""
    return [f"{group}_{place}" for place in range(number)]


def values(group: str, segments: Sequence[int]) -> Mapping[str, int]:
    """Return the values of these parameters."""
    return dict(zip(names(group, len(segments)), segments, strict=True))


def in_order(
    segments: Sequence[str],
    order: Sequence[str],
    *conditions: ColumnElement[bool],
    more: Sequence[Column] = (),
    down: bool = False,
    limit: int | None = None,
    limit_each: bool = True,
) -> AnySelect:
    """Return the users of the segments in these parameters who meet the conditions: the first `limit`, or all.

    The columns are the segment, those of the order, and `more`. Without a limit for each range, Postgres would rather
    sort the whole range, and with one SQLite reads so many of each: for many users, leave `limit_each` to Postgres.
    """
    columns = [getattr(User, name) for name in order]
    each = [
        select(User.segment, *columns, *more)
        .where(User.segment == bindparam(one), *conditions)
        .order_by(*_directed(columns, down))
        for one in segments
    ]
    if limit and limit_each and list(order) != ["id"]:
        each = [first(query, limit) for query in each]
    found = joined(each).subquery()
    merged = select(found).order_by(*_directed([found.c[name] for name in order], down))
    return first(merged, limit) if limit else merged


def _directed(columns: Sequence[Column], down: bool) -> Sequence[Column]:
    return [column.desc() if down else column for column in columns]


def joined(queries: Any) -> CompoundSelect[*tuple[Any, ...]]:
    """Return the rows of all queries, each of which may have an order and a limit."""
    return union_all(*[select(query.subquery()) for query in queries])


def first(query: Any, number: int) -> Any:
    """Return the first rows of a query, and no more."""
    return query.limit(literal_column(str(int(number))))
