"""Every act of the pages, as a form that Ada sends."""

import json
from collections.abc import Callable
from typing import Any

from support.acts import ask, start, take_up
from support.api import Answer
from support.databases import execute
from support.factors import CODES, CONFIRM, FACTORS, add_app, begin_app
from support.imports import make_import
from support.passkeys import NEW as NEW_PASSKEY
from support.passkeys import NEW_OPTIONS, Passkey, options_in
from support.people import PASSWORD, make_user
from support.scenes import NEW, Scene
from support.visitors import mark_in, seen_end_in, token_in
from users import clock
from users.bulk.acts.kinds import Act, Wanted
from users.bulk.imports import spool
from users.storage.models import User


def press(scene: Scene, path: str, **fields: Any) -> Answer:
    """Send a form that Ada opened before, with the token and mark of its page."""
    return scene.browser.post(path, **fields)


def on(user: User, act: str) -> str:
    """Return the path of an act on the user."""
    return f"/admin/users/{user.id}/{act}"


def editing(user: User, **typed: str) -> dict[str, str]:
    """Return the fields of the user's edit form."""
    seen = {"email": user.email, "first_name": "", "last_name": "", "global_role_id": user.global_role_id or ""}
    return {**{f"was-{name}": value for name, value in seen.items()}, **seen, **typed}


def choose(scene: Scene) -> Answer:
    """Send the form for the new password that Ada must choose."""
    execute(scene.app, "UPDATE users SET password_change_required = true WHERE id = :ada", ada=scene.ada.id)
    return press(scene, "/account/password", password=NEW)


def reset(scene: Scene) -> Answer:
    """Reset Grace's second factor."""
    add_app(scene.app, scene.grace)
    return press(scene, on(scene.grace, "reset-second-factor"))


def restore(scene: Scene, user: User) -> Answer:
    """Restore the user, who was deleted."""
    execute(scene.app, "UPDATE users SET deleted_at = updated_at WHERE id = :id", id=user.id)
    return press(scene, on(user, "restore"))


def prove_app(scene: Scene) -> Answer:
    """Send the first code of Ada's new app."""
    mine = begin_app(scene.app, scene.ada)
    return press(scene, f"{FACTORS}/{mine.factor_id}/app", code=mine.code(), name="Phone")


def add_passkey(scene: Scene) -> Answer:
    """Send Ada's new passkey."""
    challenge = options_in(scene.browser, NEW_OPTIONS, NEW_PASSKEY)["challenge"]
    return press(scene, NEW_PASSKEY, credential=Passkey().made(challenge))


def on_new_factor(scene: Scene, act: str) -> Answer:
    """Send a form about Ada's first factor, which does not count before she has saved her recovery codes."""
    mine = begin_app(scene.app, scene.ada)
    execute(scene.app, "UPDATE second_factors SET proved_at = created_at WHERE id = :id", id=mine.factor_id)
    return press(scene, f"{FACTORS}/{mine.factor_id}/{act}")


def on_factor(scene: Scene, act: str = "", **fields: str) -> Answer:
    """Send a form about Ada's second factor."""
    return press(scene, f"{FACTORS}/{add_app(scene.app, scene.ada).factor_id}{act}", **fields)


def make_codes(scene: Scene) -> Answer:
    """Make new recovery codes for Ada."""
    add_app(scene.app, scene.ada)
    return press(scene, CODES)


def on_many(scene: Scene, act: str, do: str) -> Answer:
    """Send a form about an act on Sam alone that Ada has asked for: to take its links, when it has been done."""
    asked = ask(scene.app, Wanted(Act(act)), [scene.sam], scene.ada)
    if do == "links":
        with scene.app.app_context():
            take_up(start(asked).id)
    return press(scene, f"/admin/acts/{asked.id}/{do}")


def with_import(scene: Scene, act: str, *, administrators: int = 0) -> Answer:
    """Send a form about an import of Ada's that waits to be started."""
    job = make_import(scene.app, scene.ada, state="checked")
    with scene.app.app_context():
        spool.path(job.id, spool.PREVIEW).write_text(json.dumps({"administrators": administrators}))
    return press(scene, f"/admin/imports/{job.id}/{act}")


def columns_of_import(scene: Scene) -> Answer:
    """Say what the columns of a file of Ada's mean."""
    job = make_import(scene.app, scene.ada, state="columns")
    with scene.app.app_context():
        spool.path(job.id, spool.FILE).write_bytes(b"correo\njo@example.com\n")
    return press(scene, f"/admin/imports/{job.id}/columns", **{"column-0": "email"})


def undo_import(scene: Scene) -> Answer:
    """Take back an import that has made a user."""
    job = make_import(scene.app, scene.ada, state="finished", created=1, started_at=clock.now())
    make_user(scene.app, "lou@example.com", request_id=job.id)
    return press(scene, f"/admin/imports/{job.id}/undo")


# They need no permission.
OWN_ACTS: dict[str, Callable[[Scene], Answer]] = {
    "own password": lambda it: press(it, "/account", current_password=PASSWORD, password=NEW),
    "end other sessions": lambda it: press(it, "/account/sessions"),
    "end own session": lambda it: press(it, "/account/sessions/end"),
    "confirm": lambda it: press(it, CONFIRM, password=PASSWORD),
    "begin app": lambda it: press(it, f"{FACTORS}/app"),
    "prove app": lambda it: prove_app(it),
    "add passkey": lambda it: add_passkey(it),
    "make other codes": lambda it: on_new_factor(it, "codes"),
    "activate factor": lambda it: on_new_factor(it, "activate"),
    "rename factor": lambda it: on_factor(it, name="Phone"),
    "remove factor": lambda it: on_factor(it, "/remove"),
    "make codes": lambda it: make_codes(it),
    "choose password": lambda it: choose(it),
}
KEY_FORM = {"name": "New", "scopes": "users:read", "owner": "ada@example.com", "expires": "90"}
PAGE_ACTS: dict[str, Callable[[Scene], Answer]] = {
    "create": lambda it: it.browser.create(),
    "invite": lambda it: it.browser.create(choice="link"),
    "create administrator": lambda it: it.browser.create(global_role_id="role_admin"),
    "invite administrator": lambda it: it.browser.create(choice="link", global_role_id="role_admin"),
    "edit": lambda it: press(it, on(it.sam, "edit"), **editing(it.sam, first_name="Samuel")),
    "promote": lambda it: press(it, on(it.sam, "edit"), **editing(it.sam, global_role_id="role_admin")),
    "demote": lambda it: press(it, on(it.grace, "edit"), **editing(it.grace, global_role_id=""), confirmed="yes"),
    "set password": lambda it: press(it, on(it.sam, "password"), choice="type", password=NEW),
    "set administrator's password": lambda it: press(it, on(it.grace, "password"), choice="generate"),
    "make password link": lambda it: press(it, on(it.sam, "password"), choice="link"),
    "make administrator's link": lambda it: press(it, on(it.grace, "password"), choice="link"),
    "end password link": lambda it: press(it, on(it.sam, "password-link/end")),
    "verify": lambda it: press(it, on(it.sam, "verify")),
    "verification": lambda it: press(it, on(it.sam, "verification")),
    "deactivate": lambda it: press(it, on(it.sam, "deactivate")),
    "reactivate": lambda it: press(it, on(it.sam, "reactivate")),
    "end sessions": lambda it: press(it, on(it.sam, "sessions")),
    "unlock": lambda it: press(it, on(it.sam, "unlock")),
    "reset factors": lambda it: reset(it),
    "delete": lambda it: press(it, on(it.sam, "delete")),
    "restore": lambda it: restore(it, it.sam),
    "restore administrator": lambda it: restore(it, it.grace),
    "export hashes": lambda it: press(it, "/admin/users/export", format="jsonl", hashes="y"),
    "choose users": lambda it: press(it, "/admin/users", act="deactivate", user=it.sam.id),
    "start act": lambda it: on_many(it, "deactivate", "start"),
    "stop act": lambda it: on_many(it, "deactivate", "cancel"),
    "take links": lambda it: on_many(it, "links", "links"),
    "new key": lambda it: press(it, "/admin/keys/new", **KEY_FORM),
    "roll key": lambda it: press(it, f"/admin/keys/{it.key_id}/roll", ends="24", expires="90"),
    "revoke key": lambda it: press(it, f"/admin/keys/{it.key_id}/revoke"),
    "import": lambda it: press(it, "/admin/users/import", rows="email\njo@example.com"),
    "start import": lambda it: with_import(it, "start"),
    "import administrators": lambda it: with_import(it, "start", administrators=1),
    "cancel import": lambda it: with_import(it, "cancel"),
    "columns of import": lambda it: columns_of_import(it),
    "undo import": lambda it: undo_import(it),
    **OWN_ACTS,
}


def prepare(scene: Scene, act: str) -> Callable[[], Answer]:
    """Open the page of an act; return a function that sends its form, with the token and marks of that page."""
    real, client = scene.browser.post, scene.browser.client
    sent: list[tuple[str, dict[str, Any]]] = []

    def note(path: str, **fields: Any) -> Answer:
        page = scene.browser.get(path)
        marks = {"mark": mark_in(page), "was-expires_at": seen_end_in(page)} if "mark" in page.text else {}
        sent.append((path, {**marks, **fields, "csrf_token": token_in(page)}))
        return page

    scene.browser.post = note  # type: ignore[method-assign]
    PAGE_ACTS[act](scene)
    scene.browser.post = real  # type: ignore[method-assign]
    path, data = sent[0]
    return lambda: client.post(path, data=data)
