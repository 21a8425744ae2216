"""The one blueprint, which all routes belong to, and the guard of public views."""

from collections.abc import Callable
from typing import TypeVar

from flask import Blueprint

View = TypeVar("View", bound=Callable[..., object])

bp = Blueprint("users", __name__)

PUBLIC = "public"  # the guard of a view that needs no permission and no sign-in


def same_for_all(view: View) -> View:
    """Make a view public. Its response is the same for all callers, so no session is looked up."""
    view.guard = PUBLIC  # type: ignore[attr-defined]  # a test reads it for all routes
    return view
