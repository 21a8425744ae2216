"""Rows of imports that are good, as the judgement returns them."""

from typing import Any

from users.bulk.rows import GoodRow
from users.rules.emails import parse_email


def good_row(number: int, email: str, **more: Any) -> GoodRow:
    """Return a good row with this number and email, without names and password unless `more` gives them."""
    absent = dict.fromkeys(
        ("first_name", "last_name", "role", "last_verified", "created_at", "id", "password", "password_hash")
    )
    values: dict[str, Any] = {**absent, "is_active": True, "password_make": None, **more}
    return GoodRow(number=number, email=parse_email(email), **values)
