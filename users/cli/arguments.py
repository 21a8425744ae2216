"""How commands read their arguments: a user by id or email, a period such as 90d."""

import re
from datetime import timedelta

import click

from users import ids
from users.services import user_queries
from users.storage.models import User

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LONGEST = timedelta(days=36500)


def period(_context: click.Context, _option: click.Parameter, value: str | None) -> timedelta | None:
    """Return the period in `value`, such as `90d`: the callback of an option. Raises BadParameter."""
    if value is None:
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,6})([mhdw])", value)
    found = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else timedelta.max
    if found > _LONGEST:
        raise click.BadParameter("takes a number and a unit, m, h, d or w: 90d. At most 36500d.")
    return found


def find_user(reference: str) -> User:
    """Return the user with this id or email. Raises UserNotFound."""
    if ids.is_user_id(reference):
        return user_queries.get_user(reference)
    return user_queries.get_user_by_email(reference)
