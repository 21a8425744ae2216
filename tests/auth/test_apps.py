"""Codes of an authenticator app: RFC 6238, one step each way, each step once."""

from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from pyotp import TOTP

from support.databases import execute, rows
from support.factors import STEP, App, add_app, begin_app
from support.guessers import Time
from support.people import Cast, as_actor
from support.second_steps import half_way
from users.auth.factors import apps, held, sealing
from users.services import second_factors
from users.storage.models import SecondFactor

pytestmark = pytest.mark.one_database

SECRET = b"12345678901234567890"  # of RFC 6238, appendix B, for SHA-1
# Time and code: the appendix shows 8 digits, of which these are the last 6.
VECTORS = {
    59: "287082",
    1111111109: "081804",
    1111111111: "050471",
    1234567890: "005924",
    2000000000: "279037",
    20000000000: "353130",
}


@pytest.fixture
def factor(app: Flask) -> SecondFactor:
    """An app with the secret of the RFC, not in the database."""
    with app.app_context():
        return SecondFactor(kind=held.Kind.APP, secret=sealing.seal(SECRET), counter=0)


@pytest.mark.parametrize("seconds", VECTORS)
def test_vectors(app: Flask, factor: SecondFactor, seconds: int) -> None:
    with app.app_context():
        assert apps.take(factor, VECTORS[seconds], datetime.fromtimestamp(seconds, UTC))
    assert factor.counter == seconds // 30


@pytest.mark.parametrize("steps", range(-3, 4))
def test_window(app: Flask, cast: Cast, time: Time, steps: int) -> None:
    """One step before or after passes, two do not: the sign-in is 30 to 60 seconds off at most."""
    code = add_app(app, cast.ada).code_at(steps)
    assert half_way(app, cast.ada).answer(code) == ("in" if abs(steps) <= 1 else "wrong")


def test_edges_of_a_step(app: Flask, factor: SecondFactor) -> None:
    begin = datetime(2026, 11, 24, 6, 46, 30, tzinfo=UTC)
    code = TOTP("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").at(begin)
    moment = timedelta(milliseconds=1)
    passing = [begin - STEP, begin + 2 * STEP - moment]
    for at in [begin - STEP - moment, begin + 2 * STEP, *passing]:
        factor.counter = 0
        with app.app_context():
            assert apps.take(factor, code, at) == (at in passing), at


def test_each_step_once(app: Flask, cast: Cast, time: Time) -> None:
    """A code that was taken, and any earlier one, is never taken again."""
    mine = add_app(app, cast.ada)
    codes = [mine.code_at(steps) for steps in (-1, 0, 1)]
    assert half_way(app, cast.ada).answer(codes[1]) == "in"
    again = half_way(app, cast.ada)
    assert [again.answer(code) for code in codes] == ["wrong", "wrong", "in"]


def test_clock_set_back(app: Flask, cast: Cast, time: Time) -> None:
    """A code is not taken twice, and the app works again once the clock has come to where it was."""
    mine = add_app(app, cast.ada)
    assert half_way(app, cast.ada).answer(mine.code_at(0)) == "in"
    time.pass_by(minutes=-1)
    steps = half_way(app, cast.ada)
    assert [steps.answer(mine.code_at(number)) for number in (-1, 0, 1, 2)] == ["wrong"] * 4
    time.pass_by(minutes=1, seconds=30)
    assert steps.answer(mine.code_at(0)) == "in"


def test_code_of_the_enrolment(app: Flask, cast: Cast, time: Time) -> None:
    """The code that proved the app cannot sign in."""
    mine, actor = begin_app(app, cast.ada), as_actor(app, cast.ada)
    with app.app_context():
        second_factors.prove_app(mine.factor_id, mine.code_at(0), "", actor=actor)
    execute(app, "UPDATE second_factors SET active_since = created_at")
    steps = half_way(app, cast.ada)
    assert [steps.answer(mine.code_at(number)) for number in (-1, 0, 1)] == ["wrong", "wrong", "in"]


def test_spaces_and_hyphens(app: Flask, cast: Cast) -> None:
    code = add_app(app, cast.ada).code_at(0)
    assert half_way(app, cast.ada).answer(f" {code[:3]}\u00a0{code[3:5]}-{code[5:]}\n") == "in"


@pytest.mark.parametrize("change", ["no digit", "five", "seven", "full width", "nul", "long"])
def test_odd_codes(app: Flask, cast: Cast, time: Time, change: str) -> None:
    code = add_app(app, cast.ada).code_at(0)
    odd = {
        "no digit": "",
        "five": code[1:],
        "seven": f"0{code}",
        "full width": code.translate({digit: digit + 0xFEE0 for digit in range(ord("0"), ord("9") + 1)}),
        "nul": f"{code}\0",
        "long": code * 20_000,
    }
    assert half_way(app, cast.ada).answer(odd[change]) == "wrong"


def test_two_apps(app: Flask, cast: Cast, time: Time) -> None:
    """Any app of the user serves, and only that one's steps are used up; the row tells when it was used."""
    first = add_app(app, cast.ada)
    second = second_app(app, cast)
    assert half_way(app, cast.ada).answer(second.code_at(0)) == "in"
    assert used(app) == {first.factor_id: False, second.factor_id: True}
    assert half_way(app, cast.ada).answer(first.code_at(0)) == "in"
    assert half_way(app, cast.ada).answer(second.code_at(0)) == "wrong"


def second_app(app: Flask, cast: Cast) -> App:
    """Add a second app of Ada's."""
    mine, actor = begin_app(app, cast.ada), as_actor(app, cast.ada)
    with app.app_context():
        assert second_factors.prove_app(mine.factor_id, mine.code_at(-1), "", actor=actor) == []
    return mine


def used(app: Flask) -> dict[str, bool]:
    """Return for each factor whether it was used."""
    return {row.id: row.last_used_at is not None for row in rows(app, "SELECT id, last_used_at FROM second_factors")}


def test_another_users_app(app: Flask, cast: Cast) -> None:
    add_app(app, cast.ada)
    theirs = add_app(app, cast.omar)
    assert half_way(app, cast.ada).answer(theirs.code()) == "wrong"
    assert half_way(app, cast.ada).answer(theirs.recovery_codes[0]) == "wrong"


def test_secret(app: Flask, cast: Cast) -> None:
    """It has 160 bits, and each app another."""
    found = []
    for user in (cast.ada, cast.omar):
        mine = begin_app(app, user)
        assert (mine.totp.digits, mine.totp.interval, mine.totp.digest().name) == (6, 30, "sha1")
        found.append(mine.totp.byte_secret())
    assert [len(secret) for secret in found] == [20, 20]
    assert found[0] != found[1]


def test_uri(app: Flask, factor: SecondFactor) -> None:
    with app.app_context():
        uri = apps.uri_of(factor, "ada+x@example.com", "Enrol")
    assert uri == "otpauth://totp/Enrol:ada%2Bx%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Enrol"
