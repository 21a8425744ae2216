"""Nobody is kept out by a stranger, and no stranger guesses for ever: what counts where, at both doors."""

import time as time_module
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskCliRunner

from app import create_app
from support.api import Answer, Api
from support.application import CHEAP, SECRET_KEY, dispose
from support.databases import execute, rows
from support.guessers import WRONG, Guesser, Time
from support.people import PASSWORD, Cast, make_key, make_user
from support.visitors import Visitor, signed_in, summary_in
from users.actors import terminal
from users.auth import known_devices, known_networks, password_limits, throttles
from users.auth.known_devices import Device
from users.errors import Overloaded
from users.passwords.hash_queue import HashQueue, Share
from users.roles import Permission, Role
from users.services import user_changes
from users.storage import database

NEW = "another horse battery"
VERIFY = "/v1/user/verify-password"
CLOSED = "The password was wrong too many times in a row."


def flood(guesser: Guesser, email: str, count: int = 100, since: int = 0) -> list[str]:
    """Guess from so many networks as are needed for all guesses to be looked at."""
    return [guesser.guess(email, f"198.51.{number // 5}.7") for number in range(since, since + count)]


@pytest.fixture
def own_device(app: Flask, cast: Cast, time: Time) -> Device:
    """A browser in which Ada has signed in."""
    with app.app_context():
        return Device("own").with_user(cast.ada)


# The pages


def test_a_known_browser_is_not_shut_out_by_strangers(guesser: Guesser, own_device: Device) -> None:
    """Whatever they do: from its own network, from everywhere, and with the account closed."""
    for _ in range(40):
        guesser.guess("ada@example.com", "192.0.2.1")
    flood(guesser, "ada@example.com", 120)
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD) == "closed"
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD, own_device) == "in"


@pytest.mark.one_database
def test_a_known_browser_has_ten_tries_of_its_own(guesser: Guesser, own_device: Device, time: Time) -> None:
    found = [guesser.guess("ada@example.com", f"192.0.2.{n}", WRONG, own_device) for n in range(12)]
    assert found == ["wrong"] * 10 + ["refused"] * 2
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD) == "in", "from elsewhere nothing has changed"
    assert guesser.guess("omar@example.com", "192.0.2.1", PASSWORD, own_device) == "in"
    time.pass_by(minutes=5)
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD, own_device) == "in"


@pytest.mark.one_database
def test_after_a_hundred_failures_in_a_row_a_browser_is_not_known_any_more(
    guesser: Guesser, own_device: Device, time: Time
) -> None:
    for number in range(100):
        if number % 10 == 0:
            time.pass_by(days=1)
        assert guesser.guess("ada@example.com", "192.0.2.1", WRONG, own_device) == "wrong"
    time.pass_by(days=1)
    flood(guesser, "ada@example.com")
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD, own_device) == "closed"


@pytest.mark.one_database
def test_a_browser_is_known_again_after_the_next_success(guesser: Guesser, own_device: Device, time: Time) -> None:
    for _ in range(10):
        time.pass_by(minutes=6)
        for _ in range(10):
            guesser.guess("ada@example.com", "192.0.2.1", WRONG, own_device)
    time.pass_by(minutes=6)
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD, own_device) == "in"
    flood(guesser, "ada@example.com")
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD) == "closed"
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD, own_device) == "in"


@pytest.mark.one_database
def test_a_success_at_a_known_browser_gives_strangers_no_tries(
    guesser: Guesser, own_device: Device, time: Time
) -> None:
    """It would else tell them that there is such a user, who has signed in."""
    flood(guesser, "ada@example.com", 99)
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD, own_device) == "in"
    time.pass_by(hours=1)
    assert guesser.guess("ada@example.com") == "wrong"
    assert guesser.guess("ada@example.com", "203.0.113.1", PASSWORD) == "closed"
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD, own_device) == "in"


@pytest.mark.one_database
def test_a_success_elsewhere_ends_the_row(guesser: Guesser, time: Time) -> None:
    for _ in range(3):
        time.pass_by(hours=1)
        assert set(flood(guesser, "ada@example.com", 99)) == {"wrong"}
        assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD) == "in"


@pytest.mark.one_database
def test_an_account_has_a_hundred_tries_an_hour_from_everywhere(guesser: Guesser, time: Time) -> None:
    """Also where some of them were not wrong in a row, and the account is not closed."""
    flood(guesser, "ada@example.com", 99)
    with guesser.app.app_context(), database.transaction() as session:
        counted = password_limits._AccountCounters("pages", ada_id(guesser.app))
        throttles._delete(session, [counted._in_a_row().key])
    assert flood(guesser, "ada@example.com", 5, since=99) == ["wrong"] + ["refused"] * 4
    time.pass_by(minutes=59)
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD) == "refused"
    time.pass_by(minutes=1)
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD) == "in"


def ada_id(app: Flask) -> str:
    """Return Ada's id."""
    ((user_id,),) = rows(app, "SELECT id FROM users WHERE email = 'ada@example.com'")
    return str(user_id)


def test_a_hundred_in_a_row_close_the_account_for_good(guesser: Guesser, own_device: Device, time: Time) -> None:
    for number in range(100):
        time.pass_by(days=3)
        assert guesser.guess("ada@example.com", f"192.0.2.{number}") == "wrong"
    time.pass_by(days=3650)
    assert guesser.guess("ada@example.com", "203.0.113.1", PASSWORD) == "closed"


@pytest.mark.one_database
def test_a_success_elsewhere_does_not_open_a_closed_account(guesser: Guesser, own_device: Device, time: Time) -> None:
    flood(guesser, "ada@example.com")
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD, own_device) == "in"
    time.pass_by(hours=2)
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD) == "closed"


@pytest.mark.one_database
def test_an_address_without_an_account_is_closed_alike_but_not_for_ever(guesser: Guesser, time: Time) -> None:
    assert set(flood(guesser, "nobody@example.com")) == {"wrong"}
    time.pass_by(days=29)
    assert guesser.guess("nobody@example.com") == "closed"
    time.pass_by(days=2)
    assert guesser.guess("nobody@example.com") == "wrong"


def as_page(app: Flask, email: str, answer: Answer) -> Any:
    """Return what a sign-in page says, without what is its own."""
    return answer.status_code, answer.headers.get("Retry-After"), summary_in(answer).replace(email, "EMAIL")


@pytest.mark.one_database
@pytest.mark.parametrize("settings", [{"ENROL_TRUSTED_PROXIES": "1"}])
def test_the_pages_answer_alike_for_everybody(app: Flask, time: Time) -> None:
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
    assert CLOSED in told[0][-1][2]


@pytest.fixture
def in_a_moment(app: Flask, cast: Cast, guesser: Guesser, time: Time) -> Callable[[], str]:
    """Ada's account, closed to strangers; returns what becomes of a right password from elsewhere."""
    flood(guesser, "ada@example.com")

    def enter(password: str = PASSWORD) -> str:
        return guesser.guess("ada@example.com", "192.0.2.1", password)

    assert enter() == "closed"
    return enter


@pytest.mark.one_database
def test_the_command_line_unlocks(in_a_moment: Callable[[], str], runner: FlaskCliRunner) -> None:
    done = runner.invoke(args=["users", "unlock", "ADA@example.com"])
    assert (done.exit_code, done.stderr) == (0, "User unlocked: ada@example.com\n")
    assert in_a_moment() == "in"


def test_the_page_of_the_user_unlocks(
    app: Flask, cast: Cast, in_a_moment: Callable[[], str], runner: FlaskCliRunner
) -> None:
    grace = signed_in(app, make_user(app, "grace@example.com", Role.ADMIN))
    assert f'href="/admin/users/{cast.ada.id}/unlock"' in grace.get(f"/admin/users/{cast.ada.id}").text
    assert "Unlock this user?" in grace.get(f"/admin/users/{cast.ada.id}/unlock").text
    answer = grace.post(f"/admin/users/{cast.ada.id}/unlock")
    assert "User unlocked. They can try their password again" in grace.get(answer.location).text
    assert "There is nothing to unlock" in grace.get(f"/admin/users/{cast.ada.id}/unlock").text
    assert in_a_moment() == "in"
    ((actor, target),) = rows(app, "SELECT actor_user_id, target_id FROM audit_events WHERE action = 'user.unlock'")
    assert (actor != cast.ada.id, target) == (True, cast.ada.id)


@pytest.mark.one_database
def test_nobody_unlocks_who_holds_what_they_do_not(
    app: Flask, cast: Cast, in_a_moment: Callable[[], str], omar: Visitor
) -> None:
    assert omar.get(f"/admin/users/{cast.ada.id}/unlock").status_code == 403
    assert omar.post(f"/admin/users/{cast.ada.id}/unlock").status_code == 403
    assert in_a_moment() == "closed"


@pytest.mark.parametrize("door", ["page", "API", "command line"])
def test_a_new_password_unlocks(
    app: Flask, cast: Cast, in_a_moment: Callable[..., str], runner: FlaskCliRunner, api: Api, door: str
) -> None:
    if door == "page":
        grace = signed_in(app, make_user(app, "grace@example.com", Role.ADMIN))
        grace.post(f"/admin/users/{cast.ada.id}/password", choice="type", password=NEW)
    elif door == "API":
        api.call("PATCH", f"/v1/user/{cast.ada.id}", json={"password": NEW}, key=make_key(app, *Permission))
    else:
        runner.invoke(args=["users", "set-password", "ada@example.com", "--password-stdin"], input=NEW)
    assert in_a_moment() == "wrong"
    assert in_a_moment(NEW) == "in"


@pytest.mark.one_database
def test_the_own_new_password_unlocks(app: Flask, cast: Cast, guesser: Guesser, ada: Visitor) -> None:
    flood(guesser, "ada@example.com")
    assert ada.post("/admin/account", current_password=PASSWORD, password=NEW).status_code == 303
    assert guesser.guess("ada@example.com", "192.0.2.1", NEW) == "in"


def test_a_clock_that_jumped_ahead_and_back_locks_nobody(guesser: Guesser, own_device: Device, time: Time) -> None:
    time.pass_by(days=365)
    for _ in range(10):
        guesser.guess("ada@example.com")
    for _ in range(10):
        guesser.guess("ada@example.com", "192.0.2.1", WRONG, own_device)
    time.pass_by(days=-365)
    assert guesser.guess("ada@example.com", password=PASSWORD) == "in"
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD, own_device) == "in"


@pytest.mark.one_database
def test_clocks_that_differ_a_little_give_no_tries(guesser: Guesser, time: Time) -> None:
    """As those of two machines do: forty guesses at once would else all be looked at."""
    found = []
    for number in range(40):
        time.pass_by(seconds=20 if number % 2 else -20)
        found.append(guesser.guess("ada@example.com"))
    assert found.count("wrong") == 10


# The device cookie


@pytest.mark.one_database
def test_a_browser_is_known_for_half_a_year_and_until_a_new_password(app: Flask, cast: Cast, time: Time) -> None:
    with app.app_context():
        device = Device("own").with_user(cast.ada)
        assert device.knows(cast.ada)
        assert not device.knows(cast.omar)
        assert not Device("other", device.marks).knows(cast.ada)
        time.pass_by(days=180)
        assert device.knows(cast.ada)
        time.pass_by(days=1)
        assert not device.knows(cast.ada)
        time.pass_by(days=-1)
        cast.ada.password_changed_at = time.now
        assert not device.knows(cast.ada)


@pytest.mark.one_database
def test_a_browser_knows_the_last_five_accounts(app: Flask, cast: Cast) -> None:
    people = [make_user(app, f"{number}@example.com", Role.AUDITOR) for number in range(6)]
    with app.app_context():
        device = known_devices.read("")
        for user in [*people, people[3], people[3]]:
            device = device.with_user(user)
        assert [device.knows(user) for user in people] == [False, True, True, True, True, True]
        assert known_devices.read(device.as_cookie()) == device


@pytest.mark.one_database
def test_the_cookie_names_nobody_and_cannot_be_forged(app: Flask, cast: Cast) -> None:
    with app.app_context():
        device = known_devices.read("").with_user(cast.ada)
        cookie = device.as_cookie()
        assert cast.ada.id not in cookie
        assert cast.ada.email not in cookie
        for position in range(len(cookie)):
            forged = cookie[:position] + ("A" if cookie[position] != "A" else "B") + cookie[position + 1 :]
            assert not known_devices.read(forged).knows(cast.ada), position
        for broken in ("", "x", "~", cookie * 2, cookie + "~", "\0" * 40, "é" * 30):
            assert not known_devices.read(broken).knows(cast.ada)


@pytest.mark.one_database
def test_a_browser_stays_known_while_the_secret_key_is_rotated(app: Flask, cast: Cast, database_url: str) -> None:
    with app.app_context():
        device = Device("own").with_user(cast.ada)
    new = {**CHEAP, "DATABASE_URL": database_url, "SECRET_KEY": "".join(reversed(SECRET_KEY)) + "0123456789"}
    for fallbacks, known in ((SECRET_KEY, True), ("", False)):
        rotated = create_app({**new, "SECRET_KEY_FALLBACKS": fallbacks})
        with rotated.app_context():
            assert device.knows(cast.ada) is known
        dispose(rotated)


@pytest.mark.one_database
def test_a_sign_in_at_the_pages_makes_the_browser_known(app: Flask, cast: Cast, ada: Visitor, guesser: Guesser) -> None:
    flood(guesser, "ada@example.com")
    ada.post("/admin/logout")
    assert ada.sign_in("ada@example.com").status_code == 303
    assert Visitor(app.test_client()).sign_in("ada@example.com").status_code == 429


@pytest.mark.one_database
def test_a_wrong_password_makes_no_browser_known(cast: Cast, visitor: Visitor) -> None:
    visitor.sign_in("ada@example.com", WRONG)
    assert visitor.client.get_cookie("enrol-device") is None


# verify-password


@pytest.fixture
def verifier(app: Flask) -> Api:
    """Another application, which may check passwords and do nothing else."""
    return Api(app.test_client(), make_key(app, Permission.USERS_VERIFY))


def ask(
    verifier: Api, ip: str | None = None, password: str = WRONG, email: str = "sam@example.com", key: str = "own"
) -> str:
    """Ask whether the password is right, and tell how it went."""
    answer = verifier.call("POST", VERIFY, json={"email": email, "password": password, "ip_address": ip}, key=key)
    if answer.status_code == 429:
        return "closed" if CLOSED in answer.json["error"]["message"] else "refused"
    return "in" if answer.json["valid"] else "wrong"


def test_the_network_that_an_application_tells_is_counted(verifier: Api, cast: Cast, time: Time) -> None:
    assert [ask(verifier, "192.0.2.1") for _ in range(12)] == ["wrong"] * 10 + ["refused"] * 2
    assert ask(verifier, "192.0.2.2", PASSWORD) == "in"
    found = [ask(verifier, "2001:db8::1", email=f"{number}@example.com") for number in range(33)]
    assert found == ["wrong"] * 30 + ["refused"] * 3


@pytest.mark.one_database
def test_without_one_the_key_stands_for_the_network(app: Flask, verifier: Api, cast: Cast, time: Time) -> None:
    assert [ask(verifier) for _ in range(12)] == ["wrong"] * 10 + ["refused"] * 2
    found = [ask(verifier, email=f"{number}@example.com") for number in range(23)]
    assert found == ["wrong"] * 20 + ["refused"] * 3
    assert ask(verifier, password=PASSWORD, key=make_key(app, Permission.USERS_VERIFY)) == "in"


@pytest.mark.one_database
def test_a_user_is_not_shut_out_from_a_network_used_before(verifier: Api, cast: Cast, time: Time) -> None:
    assert ask(verifier, "192.0.2.1", PASSWORD) == "in"
    for number in range(40):
        ask(verifier, "192.0.2.1", email=f"{number}@example.com")
    for number in range(120):
        ask(verifier, f"198.51.{number // 5}.7")
    assert ask(verifier, "203.0.113.1", PASSWORD) == "closed"
    assert ask(verifier, "192.0.2.1", PASSWORD) == "in"


@pytest.mark.one_database
def test_a_network_used_before_has_ten_tries_and_a_hundred_in_a_row(verifier: Api, cast: Cast, time: Time) -> None:
    assert ask(verifier, "192.0.2.1", PASSWORD) == "in"
    assert [ask(verifier, "192.0.2.1") for _ in range(12)] == ["wrong"] * 10 + ["refused"] * 2
    for _ in range(9):
        time.pass_by(minutes=6)
        assert [ask(verifier, "192.0.2.1") for _ in range(10)] == ["wrong"] * 10
    time.pass_by(minutes=6)
    for number in range(100):
        ask(verifier, f"198.51.{number // 5}.7")
    assert ask(verifier, "192.0.2.1", PASSWORD) == "closed", "it is not known any more"


def test_the_last_eight_networks_of_a_user_are_known(app: Flask, verifier: Api, cast: Cast, time: Time) -> None:
    for number in (1, 2, 3, 4, 5, 6, 7, 8, 1, 9):
        time.pass_by(minutes=1)
        assert ask(verifier, f"192.0.2.{number}", PASSWORD) == "in"
    with app.app_context():
        known = [known_networks.is_known(cast.sam.id, f"192.0.2.{number}") for number in range(1, 10)]
    assert known == [True, False, True, True, True, True, True, True, True]
    stored = rows(app, "SELECT network FROM known_networks")
    assert len(stored) == known_networks.KEPT
    assert not [row for row in stored if b"192.0" in bytes(row.network)]


@pytest.mark.one_database
def test_a_key_that_could_never_let_the_account_in_does_not_count_against_it(
    app: Flask, verifier: Api, cast: Cast, time: Time
) -> None:
    """A narrow key must not keep an administrator out, at the pages or of another application."""
    wide = make_key(app, *Permission)
    for number in range(150):
        ask(verifier, f"198.51.{number // 5}.7", email="ada@example.com", password=PASSWORD)
    assert ask(verifier, "192.0.2.1", PASSWORD, "ada@example.com") == "closed"
    assert ask(verifier, "198.51.0.7", PASSWORD, "ada@example.com", key=wide) == "in"
    assert ask(verifier, "203.0.113.1", PASSWORD, "ada@example.com", key=wide) == "in"


@pytest.mark.one_database
def test_the_counts_of_an_account_are_of_all_keys_together(app: Flask, cast: Cast, verifier: Api, time: Time) -> None:
    other = make_key(app, Permission.USERS_VERIFY)
    for _ in range(10):
        assert ask(verifier, "192.0.2.1") == "wrong"
    assert ask(verifier, "192.0.2.1", PASSWORD) == "refused"
    assert ask(verifier, "192.0.2.1", PASSWORD, key=other) == "in"
    for number in range(100):
        ask(verifier, f"198.51.{number // 5}.7")
    assert ask(verifier, "203.0.113.1", PASSWORD, key=other) == "closed"


def test_right_passwords_at_once_do_not_wait_in_a_circle(app: Flask, cast: Cast, guesser: Guesser) -> None:
    """Rows are locked in the order of their keys: a right password deletes some and changes others."""
    people = [make_user(app, f"{number}@example.com", Role.AUDITOR) for number in range(4)]

    def enter(number: int) -> str:
        return guesser.guess(people[number % 4].email, "192.0.2.1", PASSWORD)

    start = time_module.monotonic()
    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(enter, range(60))) == {"in"}
    assert time_module.monotonic() - start < 20  # a circle is found by Postgres after a second, each time


@pytest.mark.one_database
def test_the_two_doors_are_counted_apart(verifier: Api, app: Flask, cast: Cast, guesser: Guesser, time: Time) -> None:
    wide = make_key(app, *Permission)
    for _ in range(30):
        guesser.guess("ada@example.com", "192.0.2.1")
    flood(guesser, "ada@example.com")
    assert ask(verifier, "192.0.2.1", PASSWORD, "ada@example.com", key=wide) == "in"
    for number in range(100):
        ask(verifier, f"198.51.{number // 5}.7", email="omar@example.com", key=wide)
    assert ask(verifier, "203.0.113.1", PASSWORD, "omar@example.com", key=wide) == "closed"
    assert guesser.guess("omar@example.com", "203.0.113.1", PASSWORD) == "in"


@pytest.mark.one_database
def test_unlock_holds_at_both_doors(
    verifier: Api, app: Flask, cast: Cast, guesser: Guesser, runner: FlaskCliRunner, time: Time
) -> None:
    wide = make_key(app, *Permission)
    flood(guesser, "ada@example.com")
    for number in range(100):
        ask(verifier, f"198.51.{number // 5}.7", email="ada@example.com", key=wide)
    assert runner.invoke(args=["users", "unlock", "ada@example.com"]).exit_code == 0
    assert ask(verifier, "203.0.113.1", PASSWORD, "ada@example.com", key=wide) == "in"
    assert guesser.guess("ada@example.com", "203.0.113.1", PASSWORD) == "in"
    assert [bytes(row.key) for row in rows(app, "SELECT key FROM throttles WHERE account IS NOT NULL")] == []


@pytest.mark.one_database
def test_verify_password_answers_alike_for_everybody(app: Flask, cast: Cast, verifier: Api, time: Time) -> None:
    told = []
    for number, email in enumerate(("sam@example.com", "ada@example.com", "nobody@example.com", "no address")):
        told.append([ask(verifier, f"10.{number}.{guess // 11}.1", email=email) for guess in range(110)])
    assert told[0] == told[1] == told[2] == told[3]
    assert told[0].count("wrong") == 100
    assert told[0][-1] == "closed"


@pytest.mark.one_database
@pytest.mark.parametrize("ip", ["203.0.113.7", "2001:db8::7", "203.0.113.7:4711", "[2001:db8::7]:4711", "", None])
def test_an_ip_address_is_taken_as_proxies_write_it(verifier: Api, cast: Cast, ip: str | None) -> None:
    assert ask(verifier, ip, PASSWORD) == "in"


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("ip", "code"), [("here", "INVALID_IP_ADDRESS"), ("1.2.3", "INVALID_IP_ADDRESS"), (7, "INVALID_TYPE")]
)
def test_what_is_no_ip_address_is_refused(verifier: Api, ip: Any, code: str) -> None:
    body = {"email": "sam@example.com", "password": PASSWORD, "ip_address": ip}
    answer = verifier.call("POST", VERIFY, json=body)
    assert (answer.status_code, answer.json["error"]["code"]) == (422, code)


@pytest.mark.parametrize("settings", [{"ENROL_TRUSTED_PROXIES": "1"}])
def test_a_stranger_who_goes_on_keeps_nobody_out(
    app: Flask, cast: Cast, ada: Visitor, verifier: Api, guesser: Guesser, time: Time
) -> None:
    """700 seconds, from one address and from 200 (the full form is `tests/faults/strangers.py`)."""
    wide = make_key(app, *Permission)
    assert ask(verifier, "203.0.113.1", PASSWORD, "omar@example.com", key=wide) == "in"
    for second in range(0, 700, 5):
        time.pass_by(seconds=5)
        for address in ("192.0.2.1", f"198.51.100.{second // 5}"):
            guesser.guess("ada@example.com", address)
            ask(verifier, address, email="omar@example.com", key=wide)
        if second % 100 == 0:
            assert ada.sign_in("ada@example.com", headers={"X-Forwarded-For": "192.0.2.1"}).status_code == 303
            assert ask(verifier, "203.0.113.1", PASSWORD, "omar@example.com", key=wide) == "in"


@pytest.mark.one_database
def test_the_limits_are_those_of_the_contract() -> None:
    """SPEC, `factor.md`, section 4."""
    limits = (
        password_limits.FROM_ONE_SOURCE,
        *password_limits.BY_NETWORK,
        password_limits.BY_ACCOUNT,
        password_limits.IN_A_ROW,
    )
    assert [limit.attempts for limit in limits] == [10, 30, 300, 100, 100]
    assert [limit.period.total_seconds() for limit in limits[:4]] == [300, 300, 300, 3600]
    assert known_devices.MAX_USERS == 5
    assert known_networks.KEPT == 8


def test_what_a_purged_user_leaves_behind(app: Flask, cast: Cast, verifier: Api, runner: FlaskCliRunner) -> None:
    assert ask(verifier, "192.0.2.1", PASSWORD) == "in"
    for number in range(100):
        ask(verifier, f"198.51.{number // 5}.7")
    with app.app_context():
        user_changes.delete_user(cast.sam.id, actor=terminal("req_test00000000"))
    execute(app, "UPDATE users SET deleted_at = '2020-01-01 00:00:00' WHERE id = :i", i=cast.sam.id)
    assert runner.invoke(args=["users", "purge", "--deleted-before", "1d", "--yes"]).exit_code == 0
    assert rows(app, "SELECT * FROM known_networks") == []
    assert rows(app, "SELECT key FROM throttles WHERE account IS NOT NULL") == []
    assert rows(app, "SELECT id FROM users WHERE id = :id", id=cast.sam.id) == []


@pytest.mark.one_database
def test_a_stopped_account_stays_closed(app: Flask, cast: Cast, guesser: Guesser, time: Time) -> None:
    """The answer does not tell that somebody was stopped."""
    flood(guesser, "omar@example.com")
    execute(app, "UPDATE users SET is_active = false WHERE email = 'omar@example.com'")
    assert guesser.guess("omar@example.com") == "closed"


def test_a_new_password_ends_the_known_networks(app: Flask, cast: Cast, verifier: Api) -> None:
    assert ask(verifier, "192.0.2.1", PASSWORD) == "in"
    with app.app_context():
        user_changes.set_password(cast.sam.id, NEW, actor=terminal("req_test00000000"))
    assert rows(app, "SELECT * FROM known_networks") == []


def test_right_passwords_at_once_pass_also_when_their_hash_is_made_anew(app: Flask, cast: Cast, verifier: Api) -> None:
    for _ in range(3):
        old = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(PASSWORD)
        execute(app, "UPDATE users SET password_hash = :old WHERE id = :id", old=old, id=cast.sam.id)

        def enter(number: int) -> str:
            return ask(Api(app.test_client(), verifier.key), f"192.0.2.{number}", PASSWORD)

        with ThreadPoolExecutor(6) as pool:
            assert set(pool.map(enter, range(6))) == {"in"}


@pytest.mark.one_database
def test_who_is_refused_takes_no_place_in_the_hash_queue(app: Flask, cast: Cast, guesser: Guesser, time: Time) -> None:
    """A stranger who goes on after the last try would else fill it."""
    for _ in range(10):
        guesser.guess("ada@example.com")
    queue: HashQueue = app.extensions["enrol.hasher"]._queue
    with ExitStack() as places:
        for _ in range(queue._places_of_a_share):
            places.enter_context(queue.place(Share.TYPED))
        assert guesser.guess("ada@example.com") == "refused"


@pytest.mark.one_database
def test_a_known_browser_does_not_stand_in_line_with_strangers(
    app: Flask, guesser: Guesser, own_device: Device
) -> None:
    queue: HashQueue = app.extensions["enrol.hasher"]._queue
    with ExitStack() as places:
        for _ in range(queue._places_of_a_share):
            places.enter_context(queue.place(Share.TYPED))
        with pytest.raises(Overloaded):
            guesser.guess("ada@example.com", password=PASSWORD)
        assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD, own_device) == "in"


# NFKC sorts combining marks, in a time that grows with the square of their number.
SLOW = "a" + "\u0344" * 16_000 + "\u0316" * 15_600


@pytest.mark.one_database
def test_a_text_that_is_no_password_takes_no_longer(cast: Cast, guesser: Guesser) -> None:
    """It took 4 seconds, in which the whole process stood still."""
    start = time_module.monotonic()
    assert guesser.guess("ada@example.com", password=SLOW) == "wrong"
    assert time_module.monotonic() - start < 1
