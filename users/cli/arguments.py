"""How commands read their arguments: a user by id or email, a period such as 90d, a base URL for links."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import click

from users import ids, settings
from users.roles import Role
from users.rules import validation, web_urls
from users.services import user_queries
from users.storage.models import User

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LONGEST = timedelta(days=36500)

user_argument = click.argument("user", metavar="EMAIL_OR_ID")
role_option = click.option(
    "--role",
    help=f"One of {', '.join(Role)}.",
    shell_complete=lambda _context, _option, typed: [role for role in Role if role.startswith(typed)],
)


def text_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each field of a user that is a text, such as `--first-name`."""
    for field in reversed(validation.TEXT_FIELDS):
        command = click.option(f"--{field.name.replace('_', '-')}")(command)
    return command


def period(_context: click.Context, _option: click.Parameter, value: str | None) -> timedelta | None:
    """Return the period in `value`, such as `90d`: the callback of an option. Raises BadParameter."""
    return _read_period(value)


def period_or(word: str) -> Callable[..., timedelta | None]:
    """Return the callback of an option that takes a period, or `word` for a period of zero."""

    def read(_context: click.Context, _option: click.Parameter, value: str | None) -> timedelta | None:
        return timedelta() if value == word else _read_period(value, f' Or "{word}".')

    return read


def _read_period(value: str | None, also: str = "") -> timedelta | None:
    if value is None:
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,6})([mhdw])", value, re.ASCII)
    found = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else timedelta.max
    if found > _LONGEST:
        raise click.BadParameter(f"takes a number and a unit, m, h, d or w: 90d. At most 36500d.{also}")
    return found


def find_user(reference: str) -> User:
    """Return the user with this id or email. Raises UserNotFound."""
    if ids.is_user_id(reference):
        return user_queries.get_user(reference)
    return user_queries.get_user_by_email(reference)


def find_user_even_deleted(reference: str) -> User:
    """Return the user with this id, also if it is deleted, or the deleted user who had this email, or else has it.

    Raises UserNotFound, and UsageError if several deleted users had the email.
    """
    if ids.is_user_id(reference):
        return user_queries.get_user_even_deleted(reference)
    deleted = user_queries.find_deleted_by_email(reference)
    if len(deleted) > 1:
        theirs = ", ".join(user.id for user in deleted)
        raise click.UsageError(f"More than one deleted user had this email. Give the ID of one: {theirs}")
    return deleted[0] if deleted else user_queries.get_user_by_email(reference)


def base_url_option(help_text: str) -> Callable[[Any], Any]:
    """Return the option `--base-url`."""
    return click.option("--base-url", metavar="URL", callback=_read_base_url, help=help_text)


def _read_base_url(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    try:
        return web_urls.read_base_url(value) if value else None
    except ValueError:
        raise click.BadParameter(f"takes {settings.TAKES['ENROL_PUBLIC_URL']}.") from None


def require_base_url(given: str | None) -> str:
    """Return `given` or ENROL_PUBLIC_URL; no request tells a command the address. Raises UsageError without both."""
    base_url = given or settings.current().public_url
    if not base_url:
        raise click.UsageError(
            "A link begins with the address that people use: set ENROL_PUBLIC_URL or give --base-url."
        )
    return base_url


def link_lifetime(expires_in: timedelta | None) -> dict[str, object]:
    """Return the member `expires_in` for the validation, none if it was not given."""
    return {} if expires_in is None else {"expires_in": int(expires_in.total_seconds())}
