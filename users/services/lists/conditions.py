"""The conditions of the statements, with parameters for the values of `Asked.values`."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, or_

from users.storage.columns import UtcDateTime
from users.storage.models import User

HAS_ROLE = User.global_role_id == bindparam("role")
CREATED_IN_RANGE: Sequence[ColumnElement[bool]] = (  # an index has the ids alone
    User.id >= bindparam("first_id"),
    User.id < bindparam("last_id"),
    User.created_at >= bindparam("since", type_=UtcDateTime),
    User.created_at <= bindparam("until", type_=UtcDateTime),
)
NEVER_SIGNED_IN = User.last_login.is_(None)


def begins_with(column: str, *, without_equal: bool = False) -> ColumnElement[bool]:
    """Return the condition that the search key in this column begins as the query does."""
    end = "_parents" if column == "search_parents" else ""
    key: Any = getattr(User, column)
    least: Any = bindparam("parents" if end else "key")
    return and_(key > least if without_equal else key >= least, key < bindparam(f"above{end}"))


def found_by(columns: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition that the query finds the user, by one of the columns or by the id."""
    return or_(User.id == bindparam("key"), *map(begins_with, columns))


def beyond(key: str, *, down: bool) -> Sequence[ColumnElement[bool]]:
    """Return the conditions that a user comes after the place in the order of a list."""
    if key == "id":
        return [User.id < bindparam("place") if down else User.id > bindparam("place")]
    column: Any = getattr(User, key)
    there: Any = bindparam("place_key")
    place: Any = bindparam("place")
    if down:
        return [column <= there, or_(column < there, User.id < place)]
    return [column >= there, or_(column > there, User.id > place)]
