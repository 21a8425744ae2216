"""The one blueprint: every route hangs on it."""

from collections.abc import Callable
from typing import TypeVar

from flask import Blueprint

from users.roles import PUBLIC

View = TypeVar("View", bound=Callable[..., object])

bp = Blueprint("users", __name__)


def same_for_all(view: View) -> View:
    """Open a view to everybody, with no look at who it is: its answer is the same for all."""
    view.guard = PUBLIC  # type: ignore[attr-defined]  # a test walks the URL map and reads it
    return view
