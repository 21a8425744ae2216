"""What the commands that make a link share: the address it begins with; for a password, its lifetime and its use."""

from datetime import timedelta

import click

from users import settings
from users.clock import date_and_time
from users.services.links.password_links import PasswordLink


def require_base_url(given: str | None) -> str:
    """Return `given` or ENROL_PUBLIC_URL; no request tells a command the address. Raises UsageError without both."""
    base_url = given or settings.current().public_url
    if not base_url:
        raise click.UsageError(
            "A link begins with the address that people use: set ENROL_PUBLIC_URL or give --base-url."
        )
    return base_url


def lifetime(expires_in: timedelta | None) -> dict[str, object]:
    """Return the member `expires_in` for the validation, none if it was not given."""
    return {} if expires_in is None else {"expires_in": int(expires_in.total_seconds())}


def how_to_use(link: PasswordLink) -> str:
    """Return what to do with the link."""
    return f"Send them this link to choose their password. It works once, until {date_and_time(link.ends_at)}:"
