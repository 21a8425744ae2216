"""Ten wrong passwords in five minutes for an account from one network, exactly, then a wait that the page tells."""

import re
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from flask import Flask

from support.api import Answer
from support.databases import rows
from support.guessers import WRONG, Guesser, Time, outcomes
from support.people import PASSWORD, Cast, make_user
from support.visitors import LOGIN, Visitor, problems_in, signed_in, summary_in
from users.errors import Unavailable
from users.passwords import argon2id
from users.roles import Role
from users.storage import driver_errors

WAIT = "The password was wrong too many times. Wait 5 minutes, then try again"


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each password that was hashed."""
    found: list[int] = []
    check = argon2id.is_hash_of

    def count(known: str, given: bytes) -> bool:
        found.append(1)
        return check(known, given)

    monkeypatch.setattr(argon2id, "is_hash_of", count)
    return found


@pytest.mark.parametrize("email", ["ada@example.com", "sam@example.com", "nobody@example.com", "no address"])
def test_ten_attempts(visitor: Visitor, time: Time, hashes: list[int], email: str) -> None:
    """The eleventh password is refused without a hash, right or wrong."""
    for _ in range(10):
        assert visitor.sign_in(email, WRONG).status_code == 422
    for password in (WRONG, PASSWORD):
        page = visitor.sign_in(email, password)
        assert (page.status_code, page.headers["Retry-After"]) == (429, "300")
        assert WAIT in summary_in(page)
        assert "<title>Error: Sign in – Enrol</title>" in page.text
        assert f'value="{email}"' in page.text
        assert password not in page.text
    assert len(hashes) == 10


@pytest.mark.one_database
def test_same_page_for_all(app: Flask, time: Time) -> None:
    """A known and an unknown email get the same page."""
    pages: list[str] = []
    for number, email in enumerate(("ada@example.com", "sam@example.com", "no@example.com")):
        visitor = Visitor(app.test_client())
        visitor.client.environ_base["REMOTE_ADDR"] = f"192.0.2.{number}"
        for _ in range(10):
            visitor.sign_in(email, WRONG)
        text = visitor.sign_in(email, PASSWORD).text.replace(email, "EMAIL")
        pages.append(re.sub(r'name="csrf_token" value="[^"]+"', "TOKEN", text))
    assert pages[0] == pages[1] == pages[2]
    assert WAIT in pages[0]


@pytest.mark.one_database
def test_wait_in_minutes(visitor: Visitor, time: Time) -> None:
    """The page counts the minutes down; then the right password is enough."""
    for _ in range(10):
        visitor.sign_in("ada@example.com", WRONG)
    for passing, left, seconds in ((1, "5 minutes", "299"), (119, "3 minutes", "180"), (121, "1 minute", "59")):
        time.pass_by(seconds=passing)
        page = visitor.sign_in("ada@example.com")
        assert (page.status_code, page.headers["Retry-After"]) == (429, seconds)
        assert f"Wait {left}, then" in summary_in(page)
    time.pass_by(seconds=59)
    assert visitor.sign_in("ada@example.com").status_code == 303


def test_refusal_keeps_the_wait(guesser: Guesser, time: Time) -> None:
    """A refused attempt does not prolong the wait."""
    for _ in range(10):
        guesser.guess("ada@example.com")
    for _ in range(29):
        time.pass_by(seconds=10)
        assert guesser.guess("ada@example.com") == "refused"
    time.pass_by(seconds=10)
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD) == "in"


@pytest.mark.one_database
def test_ten_in_any_five_minutes(guesser: Guesser, time: Time) -> None:
    """However the guesses are spread over time."""
    looked_at: list[datetime] = []
    for step in range(400):
        time.pass_by(seconds=(step * 37) % 50)
        if guesser.guess("ada@example.com") == "wrong":
            looked_at.append(time.now)
    for number, start in enumerate(looked_at):
        assert len([at for at in looked_at[number:] if at - start < timedelta(minutes=5)]) <= 10
    assert len(looked_at) > 30


def test_success_resets_the_account(guesser: Guesser, time: Time) -> None:
    for round_ in range(5):
        # Each from another IP address, so that only the limit of the account counts.
        for number in range(9):
            assert guesser.guess("ada@example.com", f"192.0.2.{round_ * 10 + number}") == "wrong"
        assert guesser.guess("ada@example.com", f"192.0.2.{round_ * 10 + 9}", PASSWORD) == "in"


def test_success_and_the_network(guesser: Guesser, time: Time) -> None:
    """It gives back one attempt of the network: else the holder of one account could guess at all others."""
    for number in range(30):
        assert guesser.guess("omar@example.com", password=PASSWORD) == "in"
        assert guesser.guess(f"victim{number}@example.com") == "wrong"
    assert guesser.guess("omar@example.com", password=PASSWORD) == "refused"
    assert guesser.guess("omar@example.com", "192.0.2.1", PASSWORD) == "in"


def test_network_limit(guesser: Guesser, time: Time, hashes: list[int]) -> None:
    """A network has one limit for all accounts together."""
    found = [guesser.guess(f"victim{number}@example.com") for number in range(35)]
    assert found == ["wrong"] * 30 + ["refused"] * 5
    assert len(hashes) == 30
    # A refused attempt is not counted for the account: its user can still sign in elsewhere.
    for _ in range(20):
        assert guesser.guess("ada@example.com") == "refused"
    assert guesser.guess("ada@example.com", "192.0.2.1", PASSWORD) == "in"


SPELLINGS = (
    "Strasse@bücher.com",
    "STRASSE@BÜCHER.COM",
    "straße@xn--bcher-kva.com",
    " ﬆraße@XN--BCHER-KVA.com ",
    "\u3164strasse@bücher.com",
    "\u3164\u2800strasse@bücher.com",
)


@pytest.mark.parametrize("known", [True, False])
def test_spellings_of_an_email(app: Flask, guesser: Guesser, time: Time, known: bool) -> None:
    if known:
        make_user(app, SPELLINGS[0], Role.ADMIN)
    found = [guesser.guess(SPELLINGS[number % len(SPELLINGS)]) for number in range(14)]
    assert found == ["wrong"] * 10 + ["refused"] * 4


@pytest.mark.one_database
def test_networks(guesser: Guesser, time: Time) -> None:
    """IPv6 neighbours are one network; a mapped IPv4 address is itself."""
    found = [guesser.guess(f"{number}@example.com", f"2001:db8:1:2:{number:x}::1") for number in range(34)]
    assert found == ["wrong"] * 30 + ["refused"] * 4
    assert guesser.guess("ada@example.com", "2001:db8:1:3::1", PASSWORD) == "in"
    both = ("192.0.2.9", "::ffff:192.0.2.9", "::ffff:c000:209")
    assert [guesser.guess(f"{number}@example.com", both[number % 3]) for number in range(32)].count("wrong") == 30


@pytest.mark.one_database
def test_wide_network(guesser: Guesser, time: Time) -> None:
    found = [guesser.guess(f"{number}@example.com", f"2001:db8:1:{number:x}::1") for number in range(304)]
    assert found == ["wrong"] * 300 + ["refused"] * 4
    assert guesser.guess("ada@example.com", "2001:db8:2::1", PASSWORD) == "in"


def sent_from(visitor: Visitor, number: int, header: str) -> Answer:
    """Guess at another account with another header each time."""
    return visitor.post(
        LOGIN, email=f"{number}@example.com", password=WRONG, headers={"X-Forwarded-For": header.format(number)}
    )


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("settings", "header", "statuses"),
    [
        ({}, "203.0.113.{}", {422: 30, 429: 4}),
        ({"ENROL_TRUSTED_PROXIES": "1"}, "203.0.113.{}, 192.0.2.1", {422: 30, 429: 4}),
        ({"ENROL_TRUSTED_PROXIES": "1"}, "203.0.113.{}", {422: 34}),  # the address that the proxy saw
        ({"ENROL_TRUSTED_PROXIES": "2"}, "203.0.113.{}, 192.0.2.1, 192.0.2.2", {422: 30, 429: 4}),
    ],
    ids=["no proxy", "one proxy, invented", "one proxy, real", "two proxies, invented"],
)
def test_trusted_proxies(visitor: Visitor, time: Time, header: str, statuses: dict[int, int]) -> None:
    assert Counter(sent_from(visitor, number, header).status_code for number in range(34)) == statuses


@pytest.mark.parametrize("settings", [{"ENROL_HASH_QUEUE": "30"}])  # each takes a place before it is counted
def test_parallel_attempts(app: Flask, cast: Cast, guesser: Guesser, hashes: list[int]) -> None:
    """Parallel attempts get ten hashes in all."""
    together = threading.Barrier(30)

    def guess(number: int) -> str:
        together.wait()
        return guesser.guess(SPELLINGS[number % 4])

    with ThreadPoolExecutor(30) as pool:
        found = Counter(pool.map(guess, range(30)))
    assert found == {"wrong": 10, "refused": 20}
    assert len(hashes) == 10


def test_current_password_counts(app: Flask, cast: Cast, ada: Visitor, hashes: list[int]) -> None:
    new = {"password": "another horse battery"}
    assert ada.post("/account", current_password=PASSWORD, **new).status_code == 303
    for _ in range(4):
        page = ada.post("/account", current_password=WRONG, **new)
        assert problems_in(page) == [("current_password", "The current password is wrong")]
    assert [ada.sign_in("ada@example.com", WRONG).status_code for _ in range(6)] == [422] * 6
    looked_at = len(hashes)
    page = ada.post("/account", current_password="another horse battery", **new)
    assert page.status_code == 429
    assert re.search("Wait [45] minutes, then try again", summary_in(page))
    assert ada.sign_in("ada@example.com", "another horse battery").status_code == 429
    assert len(hashes) == looked_at
    assert Visitor(app.test_client()).sign_in("ada@example.com", "another horse battery").status_code == 303
    assert ada.is_in, "who is signed in stays so"
    assert outcomes(app, "user.set_password") == ["ok", *["refused"] * 4, "throttled"]


def test_one_row_for_refusals(app: Flask, guesser: Guesser, time: Time) -> None:
    for _ in range(50):
        guesser.guess("ada@example.com")
    assert outcomes(app) == [*["refused"] * 10, "throttled"]
    time.pass_by(minutes=6)
    for _ in range(50):
        guesser.guess("ada@example.com", "192.0.2.1")
    assert outcomes(app) == [*["refused"] * 10, "throttled"] * 2
    (target,) = {row.target_id for row in rows(app, "SELECT target_id FROM audit_events WHERE action LIKE 'session%'")}
    assert rows(app, "SELECT email FROM users WHERE id = :id", id=target) == [("ada@example.com",)]


def test_one_row_for_parallel_refusals(app: Flask, cast: Cast, guesser: Guesser) -> None:
    for _ in range(10):
        guesser.guess("ada@example.com")
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(lambda _: guesser.guess("ada@example.com"), range(48))) == {"refused"}
    assert outcomes(app).count("throttled") == 1


def test_unchecked_costs_nothing(app: Flask, guesser: Guesser, time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise Unavailable(driver_errors.AWAY)

    with monkeypatch.context() as patch:
        patch.setattr(argon2id, "is_hash_of", fail)
        for _ in range(15):
            with pytest.raises(Unavailable):
                guesser.guess("ada@example.com")
    assert [guesser.guess("ada@example.com") for _ in range(11)] == ["wrong"] * 10 + ["refused"]


def test_rows_hold_no_text(app: Flask, guesser: Guesser, time: Time) -> None:
    """The rows hold no email and no password typed in its place."""
    guesser.guess("canary-Xq7pass")
    stored = [bytes(row.key) for row in rows(app, "SELECT key FROM throttles")]
    assert [len(key) for key in stored] == [32] * 4  # the account from this network, the network, the account, in a row
    assert not [key for key in stored if b"canary" in key or b"198.51" in key]


def test_other_users_sign_in(app: Flask, cast: Cast, guesser: Guesser) -> None:
    for _ in range(20):
        guesser.guess("ada@example.com", "192.0.2.1")
    assert signed_in(app, cast.omar).is_in
