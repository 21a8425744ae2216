"""The limits of `verify-password`, and the networks known there."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskCliRunner

from support.api import Api
from support.databases import execute, rows
from support.guessers import VERIFY, Guesser, Time, ask, flood
from support.people import PASSWORD, Cast, make_key
from users.actors import terminal
from users.auth import known_networks
from users.roles import Permission
from users.services import user_changes

NEW = "another horse battery"


def test_given_network(verifier: Api, cast: Cast, time: Time) -> None:
    assert [ask(verifier, "192.0.2.1") for _ in range(12)] == ["wrong"] * 10 + ["refused"] * 2
    assert ask(verifier, "192.0.2.2", PASSWORD) == "in"
    found = [ask(verifier, "2001:db8::1", email=f"{number}@example.com") for number in range(33)]
    assert found == ["wrong"] * 30 + ["refused"] * 3


@pytest.mark.one_database
def test_no_network(app: Flask, verifier: Api, cast: Cast, time: Time) -> None:
    """Without an IP address the key stands for the network."""
    assert [ask(verifier) for _ in range(12)] == ["wrong"] * 10 + ["refused"] * 2
    found = [ask(verifier, email=f"{number}@example.com") for number in range(23)]
    assert found == ["wrong"] * 20 + ["refused"] * 3
    assert ask(verifier, password=PASSWORD, key=make_key(app, Permission.USERS_VERIFY)) == "in"


@pytest.mark.one_database
def test_known_network(verifier: Api, cast: Cast, time: Time) -> None:
    assert ask(verifier, "192.0.2.1", PASSWORD) == "in"
    for number in range(40):
        ask(verifier, "192.0.2.1", email=f"{number}@example.com")
    for number in range(120):
        ask(verifier, f"198.51.{number // 5}.7")
    assert ask(verifier, "203.0.113.1", PASSWORD) == "locked"
    assert ask(verifier, "192.0.2.1", PASSWORD) == "in"


@pytest.mark.one_database
def test_known_network_limits(verifier: Api, cast: Cast, time: Time) -> None:
    assert ask(verifier, "192.0.2.1", PASSWORD) == "in"
    assert [ask(verifier, "192.0.2.1") for _ in range(12)] == ["wrong"] * 10 + ["refused"] * 2
    for _ in range(9):
        time.pass_by(minutes=6)
        assert [ask(verifier, "192.0.2.1") for _ in range(10)] == ["wrong"] * 10
    time.pass_by(minutes=6)
    for number in range(100):
        ask(verifier, f"198.51.{number // 5}.7")
    assert ask(verifier, "192.0.2.1", PASSWORD) == "locked", "it is not known any more"


def test_last_eight_networks(app: Flask, verifier: Api, cast: Cast, time: Time) -> None:
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
def test_narrow_key(app: Flask, verifier: Api, cast: Cast, time: Time) -> None:
    """A narrow key must not lock an administrator out of the pages or of another application."""
    wide = make_key(app, *Permission)
    for number in range(150):
        ask(verifier, f"198.51.{number // 5}.7", email="ada@example.com", password=PASSWORD)
    assert ask(verifier, "192.0.2.1", PASSWORD, "ada@example.com") == "locked"
    assert ask(verifier, "198.51.0.7", PASSWORD, "ada@example.com", key=wide) == "in"
    assert ask(verifier, "203.0.113.1", PASSWORD, "ada@example.com", key=wide) == "in"


@pytest.mark.one_database
def test_counts_of_all_keys(app: Flask, cast: Cast, verifier: Api, time: Time) -> None:
    other = make_key(app, Permission.USERS_VERIFY)
    for _ in range(10):
        assert ask(verifier, "192.0.2.1") == "wrong"
    assert ask(verifier, "192.0.2.1", PASSWORD) == "refused"
    assert ask(verifier, "192.0.2.1", PASSWORD, key=other) == "in"
    for number in range(100):
        ask(verifier, f"198.51.{number // 5}.7")
    assert ask(verifier, "203.0.113.1", PASSWORD, key=other) == "locked"


@pytest.mark.one_database
def test_doors_are_counted_apart(verifier: Api, app: Flask, cast: Cast, guesser: Guesser, time: Time) -> None:
    wide = make_key(app, *Permission)
    for _ in range(30):
        guesser.guess("ada@example.com", "192.0.2.1")
    flood(guesser, "ada@example.com")
    assert ask(verifier, "192.0.2.1", PASSWORD, "ada@example.com", key=wide) == "in"
    for number in range(100):
        ask(verifier, f"198.51.{number // 5}.7", email="omar@example.com", key=wide)
    assert ask(verifier, "203.0.113.1", PASSWORD, "omar@example.com", key=wide) == "locked"
    assert guesser.guess("omar@example.com", "203.0.113.1", PASSWORD) == "in"


@pytest.mark.one_database
def test_answers_alike(app: Flask, cast: Cast, verifier: Api, time: Time) -> None:
    told = []
    for number, email in enumerate(("sam@example.com", "ada@example.com", "nobody@example.com", "no address")):
        told.append([ask(verifier, f"10.{number}.{guess // 11}.1", email=email) for guess in range(110)])
    assert told[0] == told[1] == told[2] == told[3]
    assert told[0].count("wrong") == 100
    assert told[0][-1] == "locked"


@pytest.mark.one_database
@pytest.mark.parametrize("ip", ["203.0.113.7", "2001:db8::7", "203.0.113.7:4711", "[2001:db8::7]:4711", "", None])
def test_ip_address_formats(verifier: Api, cast: Cast, ip: str | None) -> None:
    assert ask(verifier, ip, PASSWORD) == "in"


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("ip", "code"), [("here", "INVALID_IP_ADDRESS"), ("1.2.3", "INVALID_IP_ADDRESS"), (7, "INVALID_TYPE")]
)
def test_invalid_ip_address(verifier: Api, ip: Any, code: str) -> None:
    body = {"email": "sam@example.com", "password": PASSWORD, "ip_address": ip}
    answer = verifier.call("POST", VERIFY, json=body)
    assert (answer.status_code, answer.json["error"]["code"]) == (422, code)


def test_purge(app: Flask, cast: Cast, verifier: Api, runner: FlaskCliRunner) -> None:
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


def test_new_password_ends_known_networks(app: Flask, cast: Cast, verifier: Api) -> None:
    assert ask(verifier, "192.0.2.1", PASSWORD) == "in"
    with app.app_context():
        user_changes.set_password(cast.sam.id, NEW, actor=terminal("req_test00000000"))
    assert rows(app, "SELECT * FROM known_networks") == []


def test_parallel_rehash(app: Flask, cast: Cast, verifier: Api) -> None:
    """Parallel right passwords pass, also if their hash is replaced."""
    for _ in range(3):
        old = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(PASSWORD)
        execute(app, "UPDATE users SET password_hash = :old WHERE id = :id", old=old, id=cast.sam.id)

        def enter(number: int) -> str:
            return ask(Api(app.test_client(), verifier.key), f"192.0.2.{number}", PASSWORD)

        with ThreadPoolExecutor(6) as pool:
            assert set(pool.map(enter, range(6))) == {"in"}
