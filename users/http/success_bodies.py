"""JSON bodies of acts that leave nothing to show, the same for the API and the command line."""

from typing import Any


def user_deleted(user_id: str) -> dict[str, Any]:
    """Return the body that says that the user was deleted."""
    return _success("The user was deleted.", user_id)


def password_link_ended(user_id: str) -> dict[str, Any]:
    """Return the body that says that no password link of the user works."""
    return _success("The user has no open password link.", user_id)


def _success(message: str, user_id: str) -> dict[str, Any]:
    return {"success": True, "message": message, "user_id": user_id}
