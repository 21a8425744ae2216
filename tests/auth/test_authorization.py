"""The actor is authorized again in the transaction of the act: a key or session that ended meanwhile does nothing."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, request, request_started

from support.api import Answer
from support.databases import execute, rows
from support.factors import CODES, CONFIRM, FACTOR, FACTORS, add_app, begin_app
from support.passkeys import NEW as NEW_PASSKEY
from support.passkeys import NEW_OPTIONS, OPTIONS, Passkey, options_in
from support.people import PASSWORD
from support.scenes import API_ACTS, NEW, STOPS, Scene, before_the_act, stop, stored
from support.visitors import mark_in, seen_end_in, token_in
from users.actors import terminal
from users.services import api_keys


@pytest.mark.parametrize(
    ("act", "how"), [*((act, "revoked") for act in API_ACTS), *(("create", how) for how in STOPS if how != "revoked")]
)
def test_key_ends_meanwhile(scene: Scene, act: str, how: str) -> None:
    before: list[Any] = []

    def change() -> None:
        stop(scene, how)
        before.extend(stored(scene.app))

    with before_the_act(change) as done:
        answer = API_ACTS[act](scene)
    assert done
    code = STOPS[how][1]
    assert (answer.status_code, answer.json["error"]["code"]) == (403 if code.startswith("INSUFF") else 401, code)
    assert stored(scene.app) == before


@pytest.mark.one_database
@pytest.mark.parametrize("act", API_ACTS)
def test_api_acts_happen(scene: Scene, act: str) -> None:
    """Without a change meanwhile each act happens: else the tests above would show nothing."""
    with before_the_act(lambda: None) as done:
        assert API_ACTS[act](scene).status_code in (200, 201)
    assert done


def press(scene: Scene, path: str, **fields: Any) -> Answer:
    """Send a form that Ada opened before, with the token and mark of its page."""
    return scene.browser.post(path, **fields)


def sam(scene: Scene, act: str) -> str:
    """Return the path of an act on Sam."""
    return f"/admin/users/{scene.sam.id}/{act}"


def editing(scene: Scene, **typed: str) -> dict[str, str]:
    """Return the fields of Sam's edit form."""
    seen = {"email": scene.sam.email, "first_name": "", "last_name": "", "global_role_id": ""}
    return {**{f"was-{name}": value for name, value in seen.items()}, **seen, **typed}


def choose(scene: Scene) -> Answer:
    """Send the form for the new password that Ada must choose."""
    execute(scene.app, "UPDATE users SET password_change_required = true WHERE id = :ada", ada=scene.ada.id)
    return press(scene, "/account/password", password=NEW)


def reset(scene: Scene) -> Answer:
    """Reset Grace's second factor."""
    add_app(scene.app, scene.grace)
    return press(scene, f"/admin/users/{scene.grace.id}/reset-second-factor")


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
    "edit": lambda it: press(it, sam(it, "edit"), **editing(it, first_name="Samuel")),
    "promote": lambda it: press(it, sam(it, "edit"), **editing(it, global_role_id="role_admin")),
    "set password": lambda it: press(it, sam(it, "password"), choice="type", password=NEW),
    "make password link": lambda it: press(it, sam(it, "password"), choice="link"),
    "end password link": lambda it: press(it, sam(it, "password-link/end")),
    "verify": lambda it: press(it, sam(it, "verify")),
    "verification": lambda it: press(it, sam(it, "verification")),
    "deactivate": lambda it: press(it, sam(it, "deactivate")),
    "reactivate": lambda it: press(it, sam(it, "reactivate")),
    "end sessions": lambda it: press(it, sam(it, "sessions")),
    "unlock": lambda it: press(it, sam(it, "unlock")),
    "reset factors": lambda it: reset(it),
    "delete": lambda it: press(it, sam(it, "delete")),
    "new key": lambda it: press(it, "/admin/keys/new", **KEY_FORM),
    "roll key": lambda it: press(it, f"/admin/keys/{it.key_id}/roll", ends="24", expires="90"),
    "revoke key": lambda it: press(it, f"/admin/keys/{it.key_id}/revoke"),
    **OWN_ACTS,
}

ENDS = {
    "signed out elsewhere": "DELETE FROM admin_sessions WHERE user_id = :ada",
    "run out": "UPDATE admin_sessions SET created_at = '2020-01-01 00:00:00' WHERE user_id = :ada",
    "stopped": "UPDATE users SET is_active = false WHERE id = :ada",
    "deleted": "UPDATE users SET deleted_at = updated_at WHERE id = :ada",
}
SHRINKS = {
    "another role": "global_role_id = 'role_auditor'",
    "role taken": "global_role_id = NULL",
    "new password required": "password_change_required = true",
}


@pytest.mark.parametrize(
    ("act", "how"), [*((act, "stopped") for act in PAGE_ACTS), *(("create", how) for how in ENDS if how != "stopped")]
)
def test_session_ends_meanwhile(scene: Scene, act: str, how: str) -> None:
    before: list[Any] = []
    prepared = prepare(scene, act)

    def change() -> None:
        execute(scene.app, ENDS[how], ada=scene.ada.id)
        before.extend(stored(scene.app))

    with before_the_act(change) as done:
        answer = prepared()
    assert done
    assert answer.status_code == 403
    assert "Your session has ended" in answer.text
    assert 'href="/admin/users"' not in answer.text, "the page is a stranger's"
    assert stored(scene.app) == before


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("act", "how"),
    [
        *((act, "another role") for act in PAGE_ACTS if act not in OWN_ACTS),
        *(("create", how) for how in SHRINKS if how != "another role"),
    ],
)
def test_role_shrinks_meanwhile(scene: Scene, act: str, how: str) -> None:
    before: list[Any] = []
    prepared = prepare(scene, act)

    def change() -> None:
        execute(scene.app, f"UPDATE users SET {SHRINKS[how]} WHERE id = :ada", ada=scene.ada.id)
        before.extend(stored(scene.app))

    with before_the_act(change):
        answer = prepared()
    assert answer.status_code == 403
    assert "You do not have access to this page" in answer.text
    assert stored(scene.app) == before


@pytest.mark.one_database
@pytest.mark.parametrize("act", PAGE_ACTS)
def test_page_acts_happen(scene: Scene, act: str) -> None:
    prepared = prepare(scene, act)
    with before_the_act(lambda: None) as done:
        assert prepared().status_code in (200, 303)
    assert done


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


def test_role_gained_meanwhile(scene: Scene) -> None:
    """A role given or taken before the act's transaction counts."""
    execute(scene.app, "UPDATE users SET global_role_id = 'role_operator' WHERE id = :ada", ada=scene.ada.id)

    def change() -> None:
        execute(scene.app, "UPDATE users SET global_role_id = 'role_admin' WHERE id = :ada", ada=scene.ada.id)

    with before_the_act(change):
        assert API_ACTS["rename"](scene).status_code == 200


def test_audit_row_of_late_refusal(scene: Scene) -> None:
    with before_the_act(lambda: stop(scene, "role changed")):
        API_ACTS["rename"](scene)
    found = rows(scene.app, "SELECT actor_key_id, target_id FROM audit_events WHERE action = 'request.refuse'")
    assert [tuple(row) for row in found] == [(scene.key_id, scene.sam.id)]


def test_terminal(scene: Scene) -> None:
    """A person who can run a command can read the database."""
    with scene.app.app_context(), before_the_act(lambda: stop(scene, "owner stopped")):
        api_keys.revoke_key(scene.key_id, actor=terminal("req_test00000000"))
    assert rows(scene.app, "SELECT 1 FROM api_keys WHERE id = :id AND deactivated_at IS NOT NULL", id=scene.key_id)


@pytest.mark.one_database
def test_acts_are_complete(scene: Scene) -> None:
    """Each route that changes something and has a guard is among the acts."""
    seen: set[str] = set()

    def note(_app: Flask, **_: Any) -> None:
        if request.method not in ("GET", "HEAD"):
            seen.add(f"{request.method} {request.url_rule}")

    with request_started.connected_to(note):
        for act in API_ACTS.values():
            act(scene)
        for name in PAGE_ACTS:
            prepare(scene, name)()
    views: dict[str, Any] = scene.app.view_functions
    acts = {
        f"{method} {rule}"
        for rule in scene.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"GET", "HEAD"}
        if isinstance(getattr(views[rule.endpoint], "guard", None), tuple)
    }
    # A list asked for; one's own session; challenges for a passkey; a session that awaits its factor: test_second_step.
    others = {"/v1/user/batch", "/admin/logout", OPTIONS, NEW_OPTIONS, FACTOR}
    assert acts - {f"POST {path}" for path in others} <= seen
