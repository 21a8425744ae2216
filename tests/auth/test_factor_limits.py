"""Wrong codes and the limits: they count as wrong passwords do, and the right password alone gives none back."""

import pytest
from flask import Flask

from support.api import Api
from support.databases import rows
from support.factors import FACTOR, App, add_app, give_code, half_signed_in
from support.guessers import VERIFY, WRONG, Guesser, Time, flood, outcomes
from support.people import PASSWORD, Cast, make_key
from support.second_steps import WRONG_CODE, TwoSteps, half_way
from support.visitors import LOGIN
from users.auth.known_devices import Device
from users.roles import Permission


@pytest.fixture
def mine(app: Flask, cast: Cast) -> App:
    """Ada's app."""
    return add_app(app, cast.ada)


def guess_codes(steps: TwoSteps, count: int) -> list[str]:
    """Guess so many codes by someone who knows the password and gives it again after four wrong codes."""
    found: list[str] = []
    while len(found) < count:
        found.append(steps.give_password())
        if found[-1] != "in":
            break
        found.pop()
        for _ in range(4):
            found.append(steps.answer(WRONG_CODE))
    return found


def test_password_gives_nothing_back(app: Flask, cast: Cast, mine: App, time: Time) -> None:
    """Someone who knows the password has ten codes in five minutes, however often they give the password."""
    steps = TwoSteps(app, cast.ada)
    found = guess_codes(steps, 40)
    assert found == ["wrong"] * 10 + ["refused"] * 3
    assert steps.give_password() == "refused"
    assert outcomes(app) == ["refused"] * 10 + ["throttled"]
    time.pass_by(minutes=4, seconds=59)
    assert steps.give_password() == "refused"
    time.pass_by(seconds=1)
    assert steps.give_password() == "in"


@pytest.mark.one_database
def test_wrong_passwords_and_codes(app: Flask, cast: Cast, mine: App, time: Time) -> None:
    """They share the counters."""
    steps = TwoSteps(app, cast.ada)
    assert [steps.give_password(WRONG) for _ in range(7)] == ["wrong"] * 7
    assert guess_codes(steps, 4) == ["wrong"] * 3 + ["refused"]


@pytest.mark.one_database
def test_right_factor_gives_back(app: Flask, cast: Cast, mine: App, time: Time) -> None:
    steps = TwoSteps(app, cast.ada)
    for _ in range(3):
        assert [steps.give_password(WRONG) for _ in range(5)] == ["wrong"] * 5
        assert guess_codes(steps, 4) == ["wrong"] * 4
        assert steps.answer(mine.code()) == "in"
        time.pass_by(seconds=31)


@pytest.mark.one_database
def test_others_attempts(app: Flask, cast: Cast, mine: App, guesser: Guesser, time: Time) -> None:
    """The right password gives back its own attempt, and none of a stranger in the same network."""
    stranger = Device("another stranger")
    for _ in range(9):
        assert guesser.guess("ada@example.com", "192.0.2.1", WRONG, stranger) == "wrong"
        assert half_way(app, cast.ada).found
    assert guesser.guess("ada@example.com", "192.0.2.1", WRONG, stranger) == "wrong"
    assert TwoSteps(app, cast.ada).give_password() == "refused"
    assert {row.tokens for row in rows(app, "SELECT tokens FROM throttles")} == {-1, 20, 90}, (
        "-1: with the refusal recorded"
    )


@pytest.mark.one_database
def test_account_limits(app: Flask, cast: Cast, mine: App, time: Time) -> None:
    """A hundred wrong codes in a row, from any number of networks, close the account to unknown browsers."""
    found = []
    for number in range(25):
        found += guess_codes(TwoSteps(app, cast.ada, ip_address=f"198.51.100.{number}"), 4)
    assert found == ["wrong"] * 100
    strange = TwoSteps(app, cast.ada, ip_address="203.0.113.1")
    assert strange.give_password() == "locked"
    time.pass_by(days=30)
    assert strange.give_password() == "locked"


@pytest.mark.one_database
def test_known_browser(app: Flask, cast: Cast, mine: App, own_device: Device, guesser: Guesser, time: Time) -> None:
    """A stranger, with or without the password, never keeps out an administrator at a known browser."""
    flood(guesser, "ada@example.com")
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD) == "locked"
    own = TwoSteps(app, cast.ada, own_device)
    assert guess_codes(own, 8) == ["wrong"] * 8
    assert own.answer(mine.code()) == "in"
    time.pass_by(minutes=11)
    assert own.answer(mine.code()) == "in", "it can be confirmed too"


@pytest.mark.one_database
def test_known_browser_and_thieves(app: Flask, cast: Cast, mine: App, own_device: Device, time: Time) -> None:
    """Sign-ins with the password, from any number of networks, do not end the one that waits for its code there."""
    own, strange = (half_way(app, cast.ada, device) for device in (own_device, Device("new")))
    for number in range(25):
        time.pass_by(seconds=1)
        assert half_way(app, cast.ada, ip_address=f"198.51.100.{number}").found
    assert strange.found is None
    assert own.answer(mine.code()) == "in"


@pytest.mark.one_database
def test_known_browser_has_limits(app: Flask, cast: Cast, mine: App, own_device: Device, time: Time) -> None:
    assert guess_codes(TwoSteps(app, cast.ada, own_device), 20) == ["wrong"] * 10 + ["refused"] * 3
    assert half_way(app, cast.ada).answer(mine.code()) == "in", "they are its own"


@pytest.mark.one_database
def test_eleventh_try(app: Flask, cast: Cast, mine: App, time: Time) -> None:
    """The page says when to try again, for a code as for a password, and the half session goes on."""
    half_signed_in(app, cast.ada)
    for _ in range(2):
        visitor = half_signed_in(app, cast.ada)
        assert [give_code(visitor, WRONG_CODE).status_code for _ in range(4)] == [422] * 4
    first, second = (half_signed_in(app, cast.ada) for _ in range(2))
    for visitor in (first, second):
        assert give_code(visitor, WRONG_CODE).status_code == 422
    answer = give_code(first, mine.code())
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "300")
    assert "The code was wrong too many times. Wait 5 minutes" in answer.text
    again = first.sign_in("ada@example.com", token=first.token(LOGIN))
    assert (again.status_code, again.headers["Retry-After"]) == (429, "300")
    time.pass_by(minutes=5)
    assert give_code(first, mine.code()).status_code == 303
    assert first.get(FACTOR).location == "/admin"


@pytest.mark.one_database
def test_verify_password(app: Flask, cast: Cast, mine: App) -> None:
    """`verify-password` knows no second factor, and its counters are others."""
    guess_codes(TwoSteps(app, cast.ada), 20)
    verifier = Api(app.test_client(), make_key(app, *Permission))
    body = {"email": "ada@example.com", "password": PASSWORD}
    assert verifier.call("POST", VERIFY, json=body).json["valid"] is True
