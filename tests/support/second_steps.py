"""Sign-ins in two steps, without the pages: the password, then answers with a second factor."""

from collections.abc import Callable
from dataclasses import dataclass, field

from flask import Flask

from support.people import PASSWORD
from users.actors import Actor, ActorKind
from users.auth import second_step, sessions, signin
from users.auth.factors.held import Answer
from users.auth.known_devices import Device
from users.auth.sessions import CurrentSession
from users.errors import AccountLocked, TooManyWrongPasswords
from users.form_errors import SessionEnded
from users.passwords.hashing import WrongPassword
from users.storage.models import User

WRONG_CODE = "000000"  # of a run of a test, it is right once in 300,000
STRANGE = Device("stranger")


def outcome_of(act: Callable[[], object]) -> str:
    """Do the act and return how it ended."""
    try:
        act()
    except SessionEnded:
        return "ended"
    except WrongPassword:
        return "wrong"
    except TooManyWrongPasswords:
        return "refused"
    except AccountLocked:
        return "locked"
    return "in"


@dataclass
class TwoSteps:
    """A browser with a session, at one IP address, without the pages."""

    app: Flask
    user: User
    device: Device = STRANGE
    ip_address: str = "192.0.2.1"
    session: CurrentSession = field(init=False)

    @property
    def actor(self) -> Actor:
        """The visitor at this address."""
        return Actor(ActorKind.VISITOR, frozenset(), ip_address=self.ip_address)

    def give_password(self, password: str = PASSWORD) -> str:
        """Sign in with the password, and return the outcome."""

        def give() -> None:
            self.session = signin.sign_in(self.user.email, password, device=self.device, actor=self.actor)

        with self.app.app_context():
            return outcome_of(give)

    def answer(self, code: str) -> str:
        """Answer with a code of an app or a recovery code, and return the outcome."""

        def give() -> None:
            self.session = second_step.give_factor(self.session, Answer(code), device=self.device, actor=self.actor)

        with self.app.app_context():
            return outcome_of(give)

    def confirm(self, password: str = PASSWORD) -> str:
        """Confirm by the password, and return the outcome."""

        def give() -> None:
            self.session = second_step.confirm_password(self.session, password, device=self.device, actor=self.actor)

        with self.app.app_context():
            return outcome_of(give)

    @property
    def found(self) -> CurrentSession | None:
        """The session as the next request finds it, None if it has ended."""
        with self.app.app_context():
            return sessions.find(self.session.id)


def half_way(app: Flask, user: User, device: Device = STRANGE, ip_address: str = "192.0.2.1") -> TwoSteps:
    """Return a browser in which the user, who has a second factor, has given the password alone."""
    steps = TwoSteps(app, user, device, ip_address)
    assert steps.give_password() == "in"
    assert steps.session.stage is sessions.Stage.FACTOR
    return steps
