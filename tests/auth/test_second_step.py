"""The half session that awaits its factor: it opens little, ends soon, and becomes a whole one under a new id."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask

from support.databases import execute, rows
from support.factors import FACTOR, App, add_app, fully_signed_in, give_code, half_signed_in
from support.guessers import Time
from support.people import Cast
from support.second_steps import WRONG_CODE, half_way
from support.visitors import Visitor
from users.auth import sessions
from users.auth.factors import apps
from users.auth.sessions import Stage
from users.roles import Permission
from users.storage import database
from users.storage.models import SecondFactor

WRONG_RECOVERY = "0000-0000-0000-0000-0000-0000"


@pytest.fixture
def mine(app: Flask, cast: Cast) -> App:
    """Ada's app."""
    return add_app(app, cast.ada)


def sessions_of(app: Flask, cast: Cast) -> list[bool]:
    """Return for each of Ada's sessions, the oldest first, whether it awaits its factor."""
    query = "SELECT awaits_factor FROM admin_sessions WHERE user_id = :id ORDER BY created_at"
    return [bool(row.awaits_factor) for row in rows(app, query, id=cast.ada.id)]


@pytest.mark.one_database
def test_stages(app: Flask, cast: Cast, mine: App) -> None:
    """A half session has no permission; the whole one has all, under another id, and is confirmed."""
    steps = half_way(app, cast.ada)
    half = steps.session
    assert (half.stage, half.permissions) == (Stage.FACTOR, frozenset())
    assert steps.answer(mine.code()) == "in"
    whole = steps.session
    assert (whole.stage, whole.permissions) == (Stage.COMPLETE, frozenset(Permission))
    assert whole.id != half.id
    assert not whole.needs_confirmation
    steps.session = half
    assert steps.found is None
    assert steps.answer(mine.code()) == "ended"
    assert sessions_of(app, cast) == [False]


@pytest.mark.one_database
def test_ten_minutes(app: Flask, cast: Cast, mine: App, time: Time) -> None:
    steps = half_way(app, cast.ada)
    time.pass_by(minutes=9, seconds=59)
    assert steps.found
    time.pass_by(seconds=1)
    assert steps.found is None
    assert steps.answer(mine.code()) == "ended"
    assert half_way(app, cast.ada).answer(mine.code_at(0)) == "in", "the code was not used up"


def test_five_wrong_codes(app: Flask, cast: Cast, mine: App) -> None:
    """Of any kind; each leaves an audit row."""
    steps = half_way(app, cast.ada)
    given = [WRONG_CODE, WRONG_RECOVERY, "", "no code"]
    assert [steps.answer(code) for code in given] == ["wrong"] * 4
    assert steps.found
    assert steps.answer(WRONG_CODE) == "ended"
    assert steps.found is None
    assert steps.answer(mine.code()) == "ended"
    refused = "SELECT target_id FROM audit_events WHERE action = 'session.create' AND outcome = 'refused'"
    assert [row.target_id for row in rows(app, refused)] == [cast.ada.id] * 5


@pytest.mark.one_database
def test_right_after_four(app: Flask, cast: Cast, mine: App) -> None:
    """A right answer lets the next five begin."""
    steps = half_way(app, cast.ada)
    for _ in range(2):
        assert [steps.answer(WRONG_CODE) for _ in range(4)] == ["wrong"] * 4
        assert steps.answer(mine.code()) == "in"


def test_parallel_wrong_codes(app: Flask, cast: Cast, mine: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer is counted before its check: of eight at once five are checked at most, and then the session ends.

    The fifth may be checked first; the others find the session ended then.
    """
    checked: list[str] = []
    take = apps.take

    def note(factor: SecondFactor, code: str, *more: Any) -> bool:
        checked.append(code)
        return take(factor, code, *more)

    monkeypatch.setattr(apps, "take", note)
    steps = half_way(app, cast.ada)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: steps.answer(WRONG_CODE), range(8)))
    assert set(found) <= {"ended", "wrong"}
    assert found.count("ended") >= 4
    assert 1 <= len(checked) == found.count("wrong") + 1 <= 5
    assert steps.found is None


@pytest.mark.one_database
def test_answer_that_was_not_checked(app: Flask, cast: Cast, mine: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer does not count if a fault keeps it from being checked: neither in the session nor for the limits."""
    steps = half_way(app, cast.ada)

    def fail(*_: Any) -> bool:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(apps, "take", fail)
        for _ in range(12):
            with pytest.raises(RuntimeError):
                steps.answer(WRONG_CODE)
    assert [steps.answer(WRONG_CODE) for _ in range(4)] == ["wrong"] * 4
    assert steps.answer(mine.code()) == "in"


def test_most_per_user(app: Flask, cast: Cast, mine: App, time: Time) -> None:
    """Of 20 half sessions the oldest ends with the next one, and no whole session does; nor the other way round."""
    whole = half_way(app, cast.ada)
    assert whole.answer(mine.code()) == "in"
    halves = []
    for _ in range(21):
        time.pass_by(seconds=1)
        halves.append(half_way(app, cast.ada))
    assert [half.found is not None for half in halves] == [False] + [True] * 20
    assert whole.found
    wholes = [whole]
    for number in range(20):
        time.pass_by(seconds=31)
        wholes.append(half_way(app, cast.ada))
        assert wholes[-1].answer(mine.code_at(0)) == "in", number
    assert [one.found is not None for one in wholes] == [False] + [True] * 20
    assert sum(sessions_of(app, cast)) >= 19


@pytest.mark.one_database
def test_old_half_session(app: Flask, cast: Cast, mine: App, time: Time) -> None:
    """One that began before 20 others becomes a whole one all the same."""
    old = half_way(app, cast.ada)
    for number in range(20):
        time.pass_by(seconds=1)
        with app.app_context(), database.transaction() as session:
            sessions.start(session, cast.ada, time.now, sessions.Place(), has_factor=True, awaits_factor=False)
        assert sessions_of(app, cast) == [True] + [False] * (number + 1)
    assert old.answer(mine.code()) == "in"
    assert old.found
    assert sessions_of(app, cast) == [False] * 20


MEANWHILE = {
    "deactivated": "is_active = false",
    "deleted": "deleted_at = created_at",
}


@pytest.mark.one_database
@pytest.mark.parametrize("change", MEANWHILE)
def test_user_changed_meanwhile(app: Flask, cast: Cast, mine: App, change: str) -> None:
    steps = half_way(app, cast.ada)
    execute(app, f"UPDATE users SET {MEANWHILE[change]} WHERE id = :id", id=cast.ada.id)
    assert steps.found is None
    assert steps.answer(mine.code()) == "ended"


@pytest.mark.one_database
def test_ids_change_at_each_step(app: Flask, cast: Cast, mine: App) -> None:
    visitor = Visitor(app.test_client())
    ids = [visitor.session_id]
    assert visitor.sign_in("ada@example.com").location == FACTOR
    ids.append(visitor.session_id)
    assert give_code(visitor, WRONG_CODE).status_code == 422
    assert visitor.session_id == ids[-1]
    assert give_code(visitor, mine.code()).status_code == 303
    ids.append(visitor.session_id)
    assert len(set(ids)) == 3


@pytest.mark.one_database
def test_device_cookie(app: Flask, cast: Cast, mine: App) -> None:
    """The browser is known once the factor was right, not before."""
    visitor = half_signed_in(app, cast.ada)
    assert visitor.client.get_cookie("enrol-device") is None
    give_code(visitor, WRONG_CODE)
    assert visitor.client.get_cookie("enrol-device") is None
    assert give_code(visitor, mine.code()).status_code == 303
    assert visitor.client.get_cookie("enrol-device")


@pytest.mark.one_database
@pytest.mark.parametrize("kind", ["totp", "recovery_code", None])
def test_audit_row(app: Flask, cast: Cast, kind: str | None) -> None:
    """`session.create` names the factor."""
    if kind:
        mine = add_app(app, cast.ada)
        steps = half_way(app, cast.ada)
        assert not rows(app, "SELECT 1 FROM audit_events WHERE action LIKE 'session%'")
        assert steps.answer(mine.code() if kind == "totp" else mine.recovery_codes[0]) == "in"
    else:
        Visitor(app.test_client()).sign_in("ada@example.com")
    found = rows(app, "SELECT * FROM audit_events WHERE action LIKE 'session%'")
    fields = json.dumps([kind] if kind else [])
    assert [(row.action, row.outcome, row.actor_user_id, row.target_id, row.fields) for row in found] == [
        ("session.create", "ok", cast.ada.id, cast.ada.id, fields)
    ]
    assert rows(app, "SELECT last_login FROM users WHERE id = :id", id=cast.ada.id)[0].last_login


@pytest.mark.one_database
def test_last_login(app: Flask, cast: Cast, mine: App) -> None:
    """The password alone is no sign-in."""
    half_way(app, cast.ada)
    assert rows(app, "SELECT last_login FROM users WHERE id = :id", id=cast.ada.id)[0].last_login is None


@pytest.mark.one_database
def test_sign_out_half_way(app: Flask, cast: Cast, mine: App) -> None:
    visitor = half_signed_in(app, cast.ada)
    assert visitor.client.post("/admin/logout", data={"csrf_token": visitor.token(FACTOR)}).location == "/admin/login"
    assert sessions_of(app, cast) == []


@pytest.mark.one_database
def test_sign_in_again(app: Flask, cast: Cast, mine: App) -> None:
    """A sign-in in the same browser replaces the half session, and the whole one, which it ends."""
    visitor = half_signed_in(app, cast.ada)
    token = visitor.token(FACTOR)
    assert visitor.sign_in("ada@example.com", token=token).status_code == 303
    assert sessions_of(app, cast) == [True]
    whole = fully_signed_in(app, cast.ada, mine)
    assert whole.sign_in("ada@example.com").location == FACTOR
    assert sessions_of(app, cast) == [True, True]
