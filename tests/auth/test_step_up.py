"""Step-up: the proof of the last ten minutes that it is still the user, by the factor or else the password."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask

from support.databases import execute, rows
from support.factors import CONFIRM, App, add_app, confirm, fully_signed_in, grow_old
from support.guessers import WRONG, Guesser, Time, outcomes
from support.people import PASSWORD, Cast
from support.second_steps import WRONG_CODE, TwoSteps, half_way
from support.visitors import Visitor, problems_in
from users.auth import sessions
from users.auth.known_devices import Device


@pytest.fixture
def sam(app: Flask, cast: Cast) -> TwoSteps:
    """Sam, who has no second factor, signed in."""
    steps = TwoSteps(app, cast.sam)
    assert steps.give_password() == "in"
    return steps


@pytest.fixture
def mine(app: Flask, cast: Cast) -> App:
    """Ada's app."""
    return add_app(app, cast.ada)


@pytest.fixture
def signed_in(app: Flask, cast: Cast, mine: App) -> TwoSteps:
    """Ada, signed in with a code."""
    steps = half_way(app, cast.ada)
    assert steps.answer(mine.code()) == "in"
    return steps


def must_confirm(steps: TwoSteps) -> bool:
    """Tell whether the next request finds that the proof is too old."""
    found = steps.found
    assert found
    return found.needs_confirmation


@pytest.mark.one_database
def test_ten_minutes(time: Time, sam: TwoSteps) -> None:
    """A proof is good for ten minutes; the next one renews it, under another id."""
    for _ in range(3):
        time.pass_by(minutes=9, seconds=59)
        assert not must_confirm(sam)
        time.pass_by(seconds=1)
        assert must_confirm(sam)
        before = sam.session.id
        assert sam.confirm() == "in"
        assert sam.session.id != before
        assert not must_confirm(sam)


@pytest.mark.one_database
def test_sessions_of_an_older_version(app: Flask, sam: TwoSteps) -> None:
    """They have no proof."""
    execute(app, "UPDATE admin_sessions SET confirmed_at = NULL")
    assert must_confirm(sam)


@pytest.mark.one_database
def test_clock_set_back(time: Time, sam: TwoSteps) -> None:
    """A confirmation is not good for longer, but for a minute by which the clocks of two machines may differ."""
    time.pass_by(minutes=-1)
    assert not must_confirm(sam)
    time.pass_by(seconds=-1)
    assert must_confirm(sam)
    assert sam.confirm() == "in"
    assert not must_confirm(sam)


@pytest.mark.one_database
def test_by_code_alone(app: Flask, time: Time, signed_in: TwoSteps, mine: App) -> None:
    """A user with a second factor confirms by it, or a recovery code, and never by the password."""
    assert signed_in.confirm() == "wrong"
    time.pass_by(minutes=20)
    assert signed_in.answer(PASSWORD) == "wrong"
    assert signed_in.answer(mine.code_at(0)) == "in"
    assert signed_in.answer(mine.recovery_codes[0]) == "in"
    assert signed_in.answer(mine.recovery_codes[0]) == "wrong"
    found = rows(app, "SELECT outcome, fields FROM audit_events WHERE action = 'session.confirm' ORDER BY id")
    assert [tuple(row) for row in found] == [
        ("refused", "[]"),
        ("refused", '["second_factor"]'),
        ("ok", '["totp"]'),
        ("ok", '["recovery_code"]'),
        ("refused", '["second_factor"]'),
    ]


@pytest.mark.one_database
def test_code_of_the_sign_in(app: Flask, signed_in: TwoSteps, mine: App) -> None:
    """The code that signed in does not confirm."""
    used = mine.totp.generate_otp(mine._last_step)
    assert signed_in.answer(used) == "wrong"


def test_five_wrong_answers(app: Flask, sam: TwoSteps) -> None:
    """They end the session, and count as failed sign-ins."""
    assert [sam.confirm(WRONG) for _ in range(4)] == ["wrong"] * 4
    assert sam.found
    assert sam.confirm(WRONG) == "ended"
    assert sam.found is None
    assert sam.confirm() == "ended"
    assert outcomes(app, "session.confirm") == ["refused"] * 5
    assert [sam.give_password(WRONG) for _ in range(6)] == ["wrong"] * 5 + ["refused"]


@pytest.mark.one_database
def test_counted_with_the_browser(app: Flask, cast: Cast, guesser: Guesser, own_device: Device, time: Time) -> None:
    """A stranger's wrong passwords do not keep the user of a known browser from confirming."""
    steps = TwoSteps(app, cast.ada, own_device)
    assert steps.give_password() == "in"
    for number in range(100):
        guesser.guess("ada@example.com", f"198.51.{number // 5}.7")
    assert guesser.guess("ada@example.com", "192.0.2.9", PASSWORD) == "locked"
    assert steps.confirm() == "in"


def test_parallel_wrong_answers(sam: TwoSteps) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: sam.confirm(WRONG), range(8)))
    assert sorted(found) == ["ended"] * 4 + ["wrong"] * 4
    assert sam.found is None


@pytest.mark.one_database
def test_right_answer_resets(sam: TwoSteps) -> None:
    for _ in range(4):
        assert [sam.confirm(WRONG) for _ in range(4)] == ["wrong"] * 4
        assert sam.confirm() == "in"


@pytest.mark.one_database
def test_new_factor_meanwhile(app: Flask, cast: Cast, sam: TwoSteps) -> None:
    """A user who has a second factor by now cannot confirm by the password, whatever the request has seen before."""
    before = sam.session
    add_app(app, cast.sam)
    assert not before.has_factor
    assert sam.confirm() == "wrong"


@pytest.mark.one_database
def test_new_password_meanwhile(app: Flask, cast: Cast, sam: TwoSteps) -> None:
    """The password of before does not confirm."""
    execute(app, "UPDATE users SET password_changed_at = '2030-01-01 00:00:00' WHERE id = :id", id=cast.sam.id)
    assert sam.confirm() == "wrong"


@pytest.mark.one_database
@pytest.mark.parametrize("change", ["is_active = false", "deleted_at = created_at"])
def test_user_changed_meanwhile(app: Flask, cast: Cast, sam: TwoSteps, change: str) -> None:
    execute(app, f"UPDATE users SET {change} WHERE id = :id", id=cast.sam.id)
    assert sam.confirm() == "ended"


@pytest.mark.one_database
def test_expired_session(time: Time, sam: TwoSteps) -> None:
    time.pass_by(seconds=sessions.IDLE.total_seconds())
    assert sam.confirm() == "ended"


@pytest.mark.one_database
def test_page(app: Flask, cast: Cast, mine: App) -> None:
    """The page asks for the factor or the password; the fifth wrong answer leads to the sign-in page."""
    ada = fully_signed_in(app, cast.ada, mine)
    grow_old(app, cast.ada)
    assert problems_in(confirm(ada, code=PASSWORD, password=PASSWORD)) == [("code", "The code is wrong")]
    assert confirm(ada, code=mine.code()).status_code == 303
    vera = Visitor(app.test_client())
    vera.sign_in("vera@example.com")
    assert problems_in(confirm(vera, code="123456")) == [("password", "The password is wrong")]
    assert [confirm(vera, password=WRONG).status_code for _ in range(3)] == [422] * 3
    before = vera.session_id
    ended = confirm(vera, password=WRONG)
    assert ended.status_code == 403
    assert "Sign in" in ended.text
    assert vera.get(CONFIRM).location.startswith("/admin/login")
    assert vera.session_id == before, "the cookie of an ended session opens nothing"


@pytest.mark.one_database
def test_codes_of_a_half_session(app: Flask, cast: Cast, mine: App) -> None:
    """Wrong codes at the sign-in and at step-up are counted apart in their sessions, together for the limits."""
    steps = half_way(app, cast.ada)
    assert [steps.answer(WRONG_CODE) for _ in range(4)] == ["wrong"] * 4
    assert steps.answer(mine.code()) == "in"
    assert [steps.answer(WRONG_CODE) for _ in range(4)] == ["wrong"] * 4
    other = half_way(app, cast.ada)
    assert [other.answer(WRONG_CODE) for _ in range(5)] == ["wrong"] * 4 + ["ended"]
    assert [steps.answer(WRONG_CODE) for _ in range(2)] == ["ended", "refused"]
