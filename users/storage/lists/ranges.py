"""Ranges of the indexes that begin with the segment, read as one list in its order.

Both databases merge such ranges lazily, however many rows each has: they read no more entries than they return. That
needs the order in each range as well as in the query around them.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Subquery, select, union_all
from sqlalchemy.orm import InstrumentedAttribute

from users.storage.models import User


def merged(
    wanted: Iterable[int],
    columns: Sequence[InstrumentedAttribute[Any]],
    *conditions: ColumnElement[bool],
    order: ColumnElement[Any] | InstrumentedAttribute[Any],
) -> Subquery:
    """Return these columns of the users of the segments `wanted` who meet the conditions.

    The query around it has to give the same order again.
    """
    each = [select(*columns).where(User.segment == one, *conditions).order_by(order).subquery() for one in wanted]
    return union_all(*map(select, each)).subquery()
