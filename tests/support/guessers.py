"""People who guess passwords, without the pages, and a clock that a test moves."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from flask import Flask

from support.api import Api
from support.databases import rows
from support.people import Cast, make_key
from support.second_steps import outcome_of
from users import clock
from users.actors import Actor, ActorKind
from users.auth import signin
from users.auth.known_devices import Device
from users.roles import Permission

WRONG = "wrong horse battery"
VERIFY = "/v1/user/verify-password"
LOCKED = "The password was wrong too many times in a row."


class Time:
    """A clock that moves only by hand."""

    def __init__(self) -> None:
        self.now = datetime.fromisoformat("2026-11-24T06:46:31.250000+00:00")

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **time: float) -> None:
        """Move it on."""
        self.now += timedelta(**time)


@pytest.fixture
def time(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> Time:
    """The clock, moved by the test, once the cast is there."""
    moved = Time()
    monkeypatch.setattr(clock, "now", moved)
    return moved


@dataclass
class Guesser:
    """A person who guesses passwords, without the pages, from any IP address."""

    app: Flask

    def guess(
        self,
        email: str,
        ip_address: str | None = "198.51.100.7",
        password: str = WRONG,
        device: Device = Device("stranger"),  # noqa: B008  (it cannot be changed)
    ) -> str:
        """Send one password and return the outcome."""
        actor = Actor(ActorKind.VISITOR, frozenset(), ip_address=ip_address)
        with self.app.app_context():
            return outcome_of(lambda: signin.sign_in(email, password, device=device, actor=actor))


@pytest.fixture
def guesser(app: Flask) -> Guesser:
    """A person who guesses passwords."""
    return Guesser(app)


def flood(guesser: Guesser, email: str, count: int = 100, since: int = 0) -> list[str]:
    """Guess from enough networks that all guesses are checked."""
    return [guesser.guess(email, f"198.51.{number // 5}.7") for number in range(since, since + count)]


@pytest.fixture
def own_device(app: Flask, cast: Cast, time: Time) -> Device:
    """A browser in which Ada has signed in."""
    with app.app_context():
        return Device("own").with_user(cast.ada)


@pytest.fixture
def verifier(app: Flask) -> Api:
    """Another application, which may only verify passwords."""
    return Api(app.test_client(), make_key(app, Permission.USERS_VERIFY))


def ask(
    verifier: Api, ip: str | None = None, password: str = WRONG, email: str = "sam@example.com", key: str = "own"
) -> str:
    """Ask whether the password is right, and return the outcome."""
    answer = verifier.call("POST", VERIFY, json={"email": email, "password": password, "ip_address": ip}, key=key)
    if answer.status_code == 429:
        return "locked" if LOCKED in answer.json["error"]["message"] else "refused"
    return "in" if answer.json["valid"] else "wrong"


def outcomes(app: Flask, action: str = "session.create") -> list[str]:
    """Return how the audited acts ended, oldest first."""
    return [
        row.outcome for row in rows(app, "SELECT outcome FROM audit_events WHERE action = :a ORDER BY id", a=action)
    ]
