"""What commands print about a password link: its URL alone, or with its end as JSON; words about its use."""

from datetime import timedelta
from typing import Any

import click

from users import settings
from users.clock import date_and_time
from users.http import urls
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


def password_url(base_url: str, link: PasswordLink) -> tuple[str, dict[str, Any]]:
    """Return the URL of the link, and the members that the API answers about it."""
    members = urls.password_link(base_url, link)
    return members["password_url"], members


def how_to_use(link: PasswordLink) -> str:
    """Return what to do with the link."""
    return f"Send them this link to choose their password. It works once, until {date_and_time(link.ends_at)}:"
