"""The limits at the pages: strangers keep no user out, and no stranger guesses for ever."""

import time as time_module
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from flask import Flask

from support.api import Answer, Api
from support.databases import execute, rows
from support.guessers import LOCKED, WRONG, Guesser, Time, ask, flood
from support.people import PASSWORD, Cast, make_key, make_user
from support.visitors import Visitor, summary_in
from users.auth import attempt_limits, known_devices, known_networks, throttles
from users.auth.known_devices import Device
from users.errors import Overloaded
from users.passwords.hash_queue import HashQueue, Share
from users.roles import Permission, Role
from users.storage import database


def ada_id(app: Flask) -> str:
    """Return Ada's id."""
    ((user_id,),) = rows(app, "SELECT id FROM users WHERE email = 'ada@example.com'")
    return str(user_id)


def as_page(app: Flask, email: str, answer: Answer) -> Any:
    """Return the status, the wait and the message of a sign-in page, without the email."""
    return answer.status_code, answer.headers.get("Retry-After"), summary_in(answer).replace(email, "EMAIL")


def test_known_browser_and_strangers(guesser: Guesser, own_device: Device) -> None:
    """Strangers guess from its own network and from everywhere, until the account is locked."""
    for _ in range(40):
        guesser.guess("ada@example.com", "192.0.2.1")
    flood(guesser, "ada@example.com", 120)
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD) == "locked"
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD, own_device) == "in"


@pytest.mark.one_database
def test_known_browser_limit(guesser: Guesser, own_device: Device, time: Time) -> None:
    """A known browser has ten attempts of its own."""
    found = [guesser.guess("ada@example.com", f"192.0.2.{n}", WRONG, own_device) for n in range(12)]
    assert found == ["wrong"] * 10 + ["refused"] * 2
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD) == "in", "from elsewhere nothing has changed"
    assert guesser.guess("omar@example.com", "192.0.2.1", PASSWORD, own_device) == "in"
    time.pass_by(minutes=5)
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD, own_device) == "in"


@pytest.mark.one_database
def test_known_browser_in_a_row(guesser: Guesser, own_device: Device, time: Time) -> None:
    """After 100 failures in a row the browser is not known any more."""
    for number in range(100):
        if number % 10 == 0:
            time.pass_by(days=1)
        assert guesser.guess("ada@example.com", "192.0.2.1", WRONG, own_device) == "wrong"
    time.pass_by(days=1)
    flood(guesser, "ada@example.com")
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD, own_device) == "locked"


@pytest.mark.one_database
def test_known_again(guesser: Guesser, own_device: Device, time: Time) -> None:
    """The next success makes the browser known again."""
    for _ in range(10):
        time.pass_by(minutes=6)
        for _ in range(10):
            guesser.guess("ada@example.com", "192.0.2.1", WRONG, own_device)
    time.pass_by(minutes=6)
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD, own_device) == "in"
    flood(guesser, "ada@example.com")
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD) == "locked"
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD, own_device) == "in"


@pytest.mark.one_database
def test_success_at_known_browser(guesser: Guesser, own_device: Device, time: Time) -> None:
    """It gives strangers no attempts: that would tell them that the user exists and has signed in."""
    flood(guesser, "ada@example.com", 99)
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD, own_device) == "in"
    time.pass_by(hours=1)
    assert guesser.guess("ada@example.com") == "wrong"
    assert guesser.guess("ada@example.com", "203.0.113.1", PASSWORD) == "locked"
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD, own_device) == "in"


@pytest.mark.one_database
def test_success_ends_the_row(guesser: Guesser, time: Time) -> None:
    for _ in range(3):
        time.pass_by(hours=1)
        assert set(flood(guesser, "ada@example.com", 99)) == {"wrong"}
        assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD) == "in"


@pytest.mark.one_database
def test_account_limit(guesser: Guesser, time: Time) -> None:
    """An account has 100 attempts an hour, also if not all failures are in a row and the account is not locked."""
    flood(guesser, "ada@example.com", 99)
    with guesser.app.app_context(), database.transaction() as session:
        counted = attempt_limits._AccountCounters("pages", ada_id(guesser.app))
        throttles._delete(session, [counted._in_a_row().key])
    assert flood(guesser, "ada@example.com", 5, since=99) == ["wrong"] + ["refused"] * 4
    time.pass_by(minutes=59)
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD) == "refused"
    time.pass_by(minutes=1)
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD) == "in"


def test_lock_is_for_good(guesser: Guesser, own_device: Device, time: Time) -> None:
    for number in range(100):
        time.pass_by(days=3)
        assert guesser.guess("ada@example.com", f"192.0.2.{number}") == "wrong"
    time.pass_by(days=3650)
    assert guesser.guess("ada@example.com", "203.0.113.1", PASSWORD) == "locked"


@pytest.mark.one_database
def test_success_keeps_the_lock(guesser: Guesser, own_device: Device, time: Time) -> None:
    flood(guesser, "ada@example.com")
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD, own_device) == "in"
    time.pass_by(hours=2)
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD) == "locked"


@pytest.mark.one_database
def test_lock_of_unknown_email(guesser: Guesser, time: Time) -> None:
    """An unknown email is locked alike, but not for ever."""
    assert set(flood(guesser, "nobody@example.com")) == {"wrong"}
    time.pass_by(days=29)
    assert guesser.guess("nobody@example.com") == "locked"
    time.pass_by(days=2)
    assert guesser.guess("nobody@example.com") == "wrong"


@pytest.mark.one_database
@pytest.mark.parametrize("settings", [{"ENROL_TRUSTED_PROXIES": "1"}])
def test_pages_answer_alike(app: Flask, time: Time) -> None:
    """An administrator, a user without a role and an unknown email get the same answers."""
    told = []
    for number, email in enumerate(("ada@example.com", "sam@example.com", "nobody@example.com")):
        visitor, said = Visitor(app.test_client()), []
        token = visitor.token()
        for guess in range(110):
            headers = {"X-Forwarded-For": f"10.{number}.{guess // 11}.1"}
            said.append(as_page(app, email, visitor.sign_in(email, WRONG, token=token, headers=headers)))
        told.append(said)
    assert told[0] == told[1] == told[2]
    assert [status for status, *_ in told[0]].count(422) == 100
    assert told[0][-1][:2] == (429, "3600")
    assert LOCKED in told[0][-1][2]


def test_clock_set_back(guesser: Guesser, own_device: Device, time: Time) -> None:
    time.pass_by(days=365)
    for _ in range(10):
        guesser.guess("ada@example.com")
    for _ in range(10):
        guesser.guess("ada@example.com", "192.0.2.1", WRONG, own_device)
    time.pass_by(days=-365)
    assert guesser.guess("ada@example.com", password=PASSWORD) == "in"
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD, own_device) == "in"


@pytest.mark.one_database
def test_clocks_that_differ(guesser: Guesser, time: Time) -> None:
    """The clocks of two machines differ a little: 40 parallel attempts must not all be checked."""
    found = []
    for number in range(40):
        time.pass_by(seconds=20 if number % 2 else -20)
        found.append(guesser.guess("ada@example.com"))
    assert found.count("wrong") == 10


@pytest.mark.one_database
@pytest.mark.parametrize("settings", [{"ENROL_TRUSTED_PROXIES": "1"}])
def test_long_attack(app: Flask, cast: Cast, ada: Visitor, verifier: Api, guesser: Guesser, time: Time) -> None:
    """700 seconds, from one IP address and from many (the full form is `tests/faults/strangers.py`)."""
    wide = make_key(app, *Permission)
    assert ask(verifier, "203.0.113.1", PASSWORD, "omar@example.com", key=wide) == "in"
    for second in range(0, 700, 5):
        time.pass_by(seconds=5)
        for ip_address in ("192.0.2.1", f"198.51.100.{second // 5}"):
            guesser.guess("ada@example.com", ip_address)
            ask(verifier, ip_address, email="omar@example.com", key=wide)
        if second % 100 == 0:
            assert ada.sign_in("ada@example.com", headers={"X-Forwarded-For": "192.0.2.1"}).status_code == 303
            assert ask(verifier, "203.0.113.1", PASSWORD, "omar@example.com", key=wide) == "in"


@pytest.mark.one_database
def test_limits_of_the_contract() -> None:
    """These numbers are part of the contract."""
    limits = (
        attempt_limits.FROM_ONE_SOURCE,
        *attempt_limits.BY_NETWORK,
        attempt_limits.BY_ACCOUNT,
        attempt_limits.IN_A_ROW,
    )
    assert [limit.attempts for limit in limits] == [10, 30, 300, 100, 100]
    assert [limit.period.total_seconds() for limit in limits[:4]] == [300, 300, 300, 3600]
    assert known_devices.MAX_USERS == 5
    assert known_networks.KEPT == 8


@pytest.mark.one_database
def test_deactivated_account_stays_locked(app: Flask, cast: Cast, guesser: Guesser, time: Time) -> None:
    """The answer does not tell that the user was deactivated."""
    flood(guesser, "omar@example.com")
    execute(app, "UPDATE users SET is_active = false WHERE email = 'omar@example.com'")
    assert guesser.guess("omar@example.com") == "locked"


def test_no_deadlock(app: Flask, cast: Cast, guesser: Guesser) -> None:
    """Rows are locked in the order of their keys: a right password deletes some and changes others."""
    people = [make_user(app, f"{number}@example.com", Role.AUDITOR) for number in range(4)]

    def enter(number: int) -> str:
        return guesser.guess(people[number % 4].email, "192.0.2.1", PASSWORD)

    start = time_module.monotonic()
    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(enter, range(60))) == {"in"}
    assert time_module.monotonic() - start < 20  # Postgres needs a second to find each deadlock


@pytest.mark.one_database
def test_refused_takes_no_place(app: Flask, cast: Cast, guesser: Guesser, time: Time) -> None:
    """Else a stranger who goes on after the last attempt would fill the hash queue."""
    for _ in range(10):
        guesser.guess("ada@example.com")
    queue: HashQueue = app.extensions["enrol.hasher"]._queue
    with ExitStack() as places:
        for _ in range(queue.places_of(Share.TYPED)):
            places.enter_context(queue.place(Share.TYPED))
        assert guesser.guess("ada@example.com") == "refused"


@pytest.mark.one_database
def test_known_browser_has_own_share(app: Flask, guesser: Guesser, own_device: Device) -> None:
    """A known browser does not wait behind strangers in the hash queue."""
    queue: HashQueue = app.extensions["enrol.hasher"]._queue
    with ExitStack() as places:
        for _ in range(queue.places_of(Share.TYPED)):
            places.enter_context(queue.place(Share.TYPED))
        with pytest.raises(Overloaded):
            guesser.guess("ada@example.com", password=PASSWORD)
        assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD, own_device) == "in"


# NFKC sorts combining marks; the time grows with the square of their number.
SLOW = "a" + "\u0344" * 16_000 + "\u0316" * 15_600


@pytest.mark.one_database
def test_slow_text(cast: Cast, guesser: Guesser) -> None:
    """It once took 4 seconds, and the whole process stood still."""
    start = time_module.monotonic()
    assert guesser.guess("ada@example.com", password=SLOW) == "wrong"
    assert time_module.monotonic() - start < 1
