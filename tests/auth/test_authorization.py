"""The actor is authorized again in the transaction of the act: a key or session that ended meanwhile does nothing."""

from typing import Any

import pytest
from flask import Flask, request, request_started

from support.databases import execute, rows
from support.factors import FACTOR, grow_old
from support.page_acts import OWN_ACTS, PAGE_ACTS, prepare
from support.passkeys import NEW_OPTIONS, OPTIONS
from support.scenes import API_ACTS, STOPS, Scene, before_the_act, stop, stored
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
        assert API_ACTS[act](scene).status_code in (200, 201, 202)
    assert done


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


# They ask for a proof of the last ten minutes.
NEED_PROOF = {
    *("create administrator", "invite administrator", "promote", "demote"),
    *("set administrator's password", "make administrator's link", "delete", "restore administrator", "reset factors"),
    *("export hashes", "new key", "roll key", "start act", "take links", "import administrators", "undo import"),
    *("begin app", "prove app", "add passkey", "make other codes", "activate factor", "remove factor", "make codes"),
    "choose password",
    "start import",  # of which it is not known whether it makes administrators: its preview is lost
}


@pytest.mark.one_database
@pytest.mark.parametrize("act", PAGE_ACTS)
def test_old_proof(scene: Scene, act: str) -> None:
    """An act that needs a fresh proof asks for it, also if it grew old after the form was opened."""
    prepared = prepare(scene, act)
    grow_old(scene.app, scene.ada)
    before = stored(scene.app)
    answer = prepared()
    asked = "<h1>Confirm that it is you</h1>" in answer.text
    assert asked == (act in NEED_PROOF)
    if asked:
        assert answer.status_code == 403
        assert stored(scene.app) == before
    else:
        assert answer.status_code in (200, 303)


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
