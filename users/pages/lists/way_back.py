"""The way back to the list of users as it was: what the list was asked for, and the place in it.

The list's links to users carry it as `?list=`, a query string, and each link from a user's page to another page about
users passes it on. Only the names of the list's own parameters are taken from it, so it leads nowhere but to the list.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from flask import current_app, has_request_context, request, url_for

from users.blueprint import bp

FILTERS = ("role", "verified", "has_password", "never_signed_in", "since", "until")
ASKED = ("q", "status", *FILTERS, "sort")
ENDS = ("before", "after")  # the user before whom, or after whom, a page is
PLACE = (*ENDS, "at")

_PAGES = "/admin/users"
_WITHOUT_USER = ("users.show_new_user", "users.add_user")
_LONGEST = 1_000  # characters: each row of the list repeats it


def packed(asked: Mapping[str, str]) -> str | None:
    """Return the list's parameters as the text that its links carry, None if there is nothing to carry."""
    query = urlencode({name: text for name in (*ASKED, *PLACE) if (text := asked.get(name))})
    return query if query and len(query) <= _LONGEST else None


def path() -> str:
    """Return the path of the list of users, as the link that led to this request knew it."""
    return url_for("users.show_users", **_unpacked())


def _unpacked() -> dict[str, Any]:
    text = request.args.get("list", "")
    names = (*ASKED, *PLACE)
    return {name: value for name, value in parse_qsl(text[:_LONGEST]) if name in names}


@bp.url_defaults
def _pass_on(endpoint: str, values: dict[str, Any]) -> None:
    """Add the way back to a link between two pages about users."""
    if has_request_context() and "list" in request.args and request.path.startswith(f"{_PAGES}/"):
        is_about_users = endpoint in _WITHOUT_USER or current_app.url_map.is_endpoint_expecting(endpoint, "user_id")
        if is_about_users and (carried := packed(_unpacked())):
            values.setdefault("list", carried)
