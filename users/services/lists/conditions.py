"""The conditions of the statements, with parameters for the values of `Asked.values`.

They are about `of`: User, or `SAME` where the range has only the ids and each row is looked up by itself.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, or_, select
from sqlalchemy.orm import aliased

from users.storage.columns import UtcDateTime
from users.storage.models import User

SAME = aliased(User)
HAS_ROLE = User.global_role_id == bindparam("role")
# By the ids: a little more than the days asked for.
ID_IN_RANGE = (User.id >= bindparam("first_id"), User.id < bindparam("last_id"))


def looked_up(expression: Any, user_id: Any) -> ColumnElement[Any]:
    """Return an expression about SAME for the user of this id, as a read of its own for each row.

    So Postgres reads the ids from the narrow index: for the other columns, it would rather walk through all users in
    the order of the ids.
    """
    return select(expression).where(SAME.id == user_id).scalar_subquery()


def created(of: Any) -> ColumnElement[bool]:
    """Return the condition that the user was created on one of the days."""
    since, until = (bindparam(name, type_=UtcDateTime) for name in ("since", "until"))
    return and_(of.created_at >= since, of.created_at <= until)


def created_by_id() -> Sequence[ColumnElement[bool]]:
    """Return the conditions that the user was created on one of the days, of which the index knows most."""
    is_inside = and_(User.id >= bindparam("inner_first_id"), User.id < bindparam("inner_last_id"))
    return [*ID_IN_RANGE, or_(is_inside, looked_up(created(SAME), User.id))]


def never_signed_in(of: Any) -> ColumnElement[bool]:
    """Return the condition that the user has never signed in."""
    condition: ColumnElement[bool] = of.last_login.is_(None)
    return condition


def begins_with(of: Any, column: str, *, without_equal: bool = False) -> ColumnElement[bool]:
    """Return the condition that the search key in this column begins as the query does."""
    end = "_parents" if column == "search_parents" else ""
    key = getattr(of, column)
    least: Any = bindparam("parents" if end else "key")
    return and_(key > least if without_equal else key >= least, key < bindparam(f"above{end}"))


def found_by(of: Any, columns: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition that the query finds the user, by one of the columns or by the id."""
    return or_(of.id == bindparam("key"), *(begins_with(of, column) for column in columns))


def beyond(key: str, *, down: bool) -> Sequence[ColumnElement[bool]]:
    """Return the conditions that a user comes after the place in the order of a list."""
    place: Any = bindparam("place")
    if key == "id":
        return [User.id < place if down else User.id > place]
    column: Any = getattr(User, key)
    there: Any = bindparam("place_key")
    if down:
        return [column <= there, or_(column < there, User.id < place)]
    return [column >= there, or_(column > there, User.id > place)]
