"""An administrator with a key and a session, and the changes that end them before an act."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import insert

from support.api import Answer
from support.databases import execute, rows
from support.people import PASSWORD, Cast, make_key, make_user
from support.visitors import Visitor, signed_in
from users import clock, ids
from users.bulk.imports import spool
from users.bulk.options import Options
from users.roles import Permission, Role
from users.services import api_keys
from users.storage import database
from users.storage.models import Import, User, db

NEW = "another horse battery"


@dataclass
class Scene:
    """Ada, her key and her browser, and the users that the acts are about."""

    app: Flask
    ada: User
    sam: User
    grace: User  # another administrator
    key: str
    key_id: str
    browser: Visitor

    def api(self, method: str, path: str, **more: Any) -> Answer:
        """Send a request with Ada's key."""
        headers = {"X-API-Key": self.key, **more.pop("headers", {})}
        return self.app.test_client().open(f"/v1/user/{path}", method=method, headers=headers, **more)


@pytest.fixture
def scene(app: Flask, cast: Cast) -> Scene:
    """Ada with a key of all scopes and a session."""
    grace = make_user(app, "grace@example.com", Role.ADMIN)
    key = make_key(app, *Permission, owner=cast.ada)
    with app.app_context():
        key_id = list(api_keys.list_keys())[-1].id
    return Scene(app, cast.ada, cast.sam, grace, key, key_id, signed_in(app, cast.ada))


@contextlib.contextmanager
def before_the_act(change: Callable[[], None]) -> Iterator[list[str]]:
    """Call `change` once, when the request first begins to write; yield a list that notes it."""
    writing, done = database.writing, list[str]()

    @contextlib.contextmanager
    def changing(*, wait: bool = True) -> Iterator[Any]:
        if wait and not done:
            done.append("changed")
            change()
        with writing(wait=wait) as connection:
            yield connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "writing", changing)
        yield done


def stored(app: Flask) -> list[Any]:
    """Return the rows that acts change."""
    users = (
        "SELECT id, email, first_name, password_hash, global_role_id, is_active, last_verified, deleted_at, "
        "password_link_ends_at, password_change_required FROM users"
    )
    tables = (f"{users} ORDER BY id", "SELECT id, expires_at, deactivated_at FROM api_keys ORDER BY id")
    acts = "SELECT action, target_id FROM audit_events WHERE outcome = 'ok' ORDER BY id"
    imports = "SELECT id, state FROM imports ORDER BY id"
    return [rows(app, statement) for statement in (*tables, imports, acts)]


def restore(scene: Scene) -> Answer:
    """Restore Sam, who was deleted."""
    execute(scene.app, "UPDATE users SET deleted_at = updated_at WHERE id = :id", id=scene.sam.id)
    return scene.api("POST", f"{scene.sam.id}/restore")


def on_import(scene: Scene, act: str) -> Answer:
    """Send a request about an import that waits to be started."""
    import_id = ids.new_id("imp")
    with scene.app.app_context(), db.engine.begin() as connection:  # not by the service: that would be the first write
        facts = {"actor_kind": "key", "actor_user_id": scene.ada.id, "actor_key_id": scene.key_id}
        file = {"sha256": "0" * 64, "bytes": 6, "machine": spool.machine(), "options": Options().as_json(), "makes": {}}
        given = {"permissions": sorted(Permission), "state": "checked", "created_at": clock.now(), **facts, **file}
        connection.execute(insert(Import).values(id=import_id, **given))
    return scene.api("POST", f"import/jobs/{import_id}/{act}")


API_ACTS: dict[str, Callable[[Scene], Answer]] = {
    "create": lambda it: it.api("POST", "", json={"email": "jo@example.com", "password": PASSWORD}),
    "create once": lambda it: it.api(
        "POST", "", json={"email": "jo@example.com", "password": PASSWORD}, headers={"Idempotency-Key": "7c1b8a6e"}
    ),
    "invite": lambda it: it.api("POST", "invite", json={"email": "jo@example.com"}),
    "password link": lambda it: it.api("POST", f"{it.sam.id}/password-link", json={}),
    "end password link": lambda it: it.api("DELETE", f"{it.sam.id}/password-link"),
    "rename": lambda it: it.api("PATCH", it.sam.id, json={"first_name": "Samuel"}),
    "promote": lambda it: it.api("PATCH", it.sam.id, json={"global_role_id": "role_admin"}),
    "set password": lambda it: it.api("PATCH", it.sam.id, json={"password": NEW}),
    "delete": lambda it: it.api("DELETE", it.sam.id),
    "restore": lambda it: restore(it),
    "verification": lambda it: it.api("POST", f"{it.sam.id}/verification"),
    "verify password": lambda it: it.api(
        "POST", "verify-password", json={"email": "sam@example.com", "password": PASSWORD}
    ),
    "verify wrong password": lambda it: it.api(
        "POST", "verify-password", json={"email": "sam@example.com", "password": NEW}
    ),
    "import rows": lambda it: it.api(
        "POST", "import", json={"users": [{"email": "jo@example.com"}], "no_password": True}
    ),
    "import file": lambda it: it.api("POST", "import/jobs", data=b"email\njo@example.com\n", content_type="text/csv"),
    "start import": lambda it: on_import(it, "start"),
    "cancel import": lambda it: on_import(it, "cancel"),
}
STOPS = {
    "revoked": ("UPDATE api_keys SET deactivated_at = created_at WHERE id = :key", "API_KEY_DEACTIVATED"),
    "expired": ("UPDATE api_keys SET expires_at = created_at WHERE id = :key", "API_KEY_EXPIRED"),
    "erased": ("DELETE FROM api_keys WHERE id = :key", "AUTHENTICATION_REQUIRED"),
    "owner stopped": ("UPDATE users SET is_active = false WHERE id = :ada", "API_KEY_DEACTIVATED"),
    "owner deleted": ("UPDATE users SET deleted_at = updated_at WHERE id = :ada", "API_KEY_DEACTIVATED"),
    "role taken": ("UPDATE users SET global_role_id = NULL WHERE id = :ada", "INSUFFICIENT_PERMISSIONS"),
    "role changed": ("UPDATE users SET global_role_id = 'role_auditor' WHERE id = :ada", "INSUFFICIENT_PERMISSIONS"),
    "scopes taken": ("UPDATE api_keys SET scopes = '[]' WHERE id = :key", "INSUFFICIENT_PERMISSIONS"),
}


def stop(scene: Scene, how: str) -> None:
    """Deactivate Ada or end her key, directly in the database."""
    statement, _ = STOPS[how]
    values = {"key": scene.key_id} if ":key" in statement else {"ada": scene.ada.id}
    execute(scene.app, statement, **values)
