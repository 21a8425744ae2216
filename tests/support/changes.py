"""Changes of users by the service, and what the audit trail says of them."""

import json
from collections.abc import Callable
from typing import Any

from flask import Flask

from support.databases import rows
from users.actors import Actor, terminal
from users.rules import validation
from users.services import user_changes
from users.storage.models import User

TERMINAL = terminal("req_test00000000")


def update(user: User, *, actor: Actor = TERMINAL, **given: Any) -> User:
    """Change the user, as a door does."""
    changes = validation.user_changes(given, validation.Rules())
    return user_changes.update_user(user.id, changes, actor=actor)


def events(app: Flask, user: User) -> list[tuple[str, list[str]]]:
    """Return the actions on the user after the creation, each with its fields."""
    found = rows(app, "SELECT action, fields FROM audit_events WHERE target_id = :id ORDER BY id", id=user.id)
    return [(row.action, row.fields if isinstance(row.fields, list) else json.loads(row.fields)) for row in found][1:]


ACTS: dict[str, Callable[[User, Actor], Any]] = {
    "rename": lambda user, actor: update(user, first_name="Other", actor=actor),
    "nothing": lambda user, actor: update(user, actor=actor),
    "set_password": lambda user, actor: user_changes.set_password(user.id, "another password", actor=actor),
    "deactivate": lambda user, actor: user_changes.deactivate_user(user.id, actor=actor),
    "reactivate": lambda user, actor: user_changes.reactivate_user(user.id, actor=actor),
    "verify": lambda user, actor: user_changes.verify_user(user.id, actor=actor),
    "delete": lambda user, actor: user_changes.delete_user(user.id, actor=actor),
    "restore": lambda user, actor: user_changes.restore_user(user.id, actor=actor),
}
