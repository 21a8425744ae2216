"""The one blueprint: all routes belong to it."""

from collections.abc import Callable
from typing import TypeVar

from flask import Blueprint

from users.roles import PUBLIC

View = TypeVar("View", bound=Callable[..., object])

bp = Blueprint("users", __name__)


def same_for_all(view: View) -> View:
    """Make a view public, without a look at the caller: its response is the same for all callers."""
    view.guard = PUBLIC  # type: ignore[attr-defined]  # a test reads it for all routes
    return view
