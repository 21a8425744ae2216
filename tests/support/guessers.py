"""People who guess passwords, without the pages, and a clock that a test moves."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from flask import Flask

from support.people import Cast
from users import clock
from users.actors import Actor
from users.auth import signin
from users.auth.known_devices import Device
from users.errors import AccountLocked, TooManyWrongPasswords
from users.passwords.hashing import WrongPassword

WRONG = "wrong horse battery"


class Time:
    """A clock that stands still until it is moved."""

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
    """Somebody who guesses, without the pages, from any address."""

    app: Flask

    def guess(
        self,
        email: str,
        address: str | None = "198.51.100.7",
        password: str = WRONG,
        device: Device = Device("stranger"),  # noqa: B008  (it cannot be changed)
    ) -> str:
        """Send one password and tell how it went."""
        actor = Actor("visitor", frozenset(), ip_address=address)
        with self.app.app_context():
            try:
                signin.sign_in(email, password, device=device, actor=actor)
            except WrongPassword:
                return "wrong"
            except TooManyWrongPasswords:
                return "refused"
            except AccountLocked:
                return "closed"
            return "in"


@pytest.fixture
def guesser(app: Flask) -> Guesser:
    """Somebody who guesses."""
    return Guesser(app)
