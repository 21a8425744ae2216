"""The second step of a sign-in, and step-up: the proof, before an act that asks for one, that it is still the user."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from users import clock
from users.actors import Actor
from users.audit import trail
from users.audit.trail import Action
from users.auth import attempt_limits, attempts, hasher, sessions, signin, throttles
from users.auth.attempt_limits import ClaimedAccount
from users.auth.factors import held
from users.auth.factors.held import Answer
from users.auth.known_devices import Device
from users.auth.sessions import CurrentSession, Stage
from users.auth.throttles import AttemptCounters
from users.form_errors import SessionEnded, TooManyWrongCodes
from users.passwords.hash_queue import Share
from users.passwords.hashing import WrongPassword
from users.storage import database
from users.storage.models import User


def give_factor(current: CurrentSession, answer: Answer, *, device: Device, actor: Actor) -> CurrentSession:
    """Take an answer with a second factor, and return the session under a new id: signed in, or confirmed again.

    Raises WrongCode, which counts as a wrong password, SessionEnded (to all but one of parallel requests, and if the
    session has ended), TooManyWrongCodes and AccountLocked. The fifth wrong answer ends the session.
    """
    step = _Step(current, replace(_attempt(current, device, actor), error=TooManyWrongCodes), actor)
    with step.counted():
        challenge = step.take_challenge() if answer.credential else None
        with database.transaction() as session:
            found = step.lock_user(session)
            now = clock.now()
            kind = held.take(session, found.id, answer, challenge, now)
            return step.complete(session, found, now, [kind])


def confirm_password(current: CurrentSession, password: str, *, device: Device, actor: Actor) -> CurrentSession:
    """Return the session of a user without a second factor, confirmed by the password, under a new id.

    Raises WrongPassword, Overloaded, TooManyWrongPasswords, and the other errors of `give_factor`.
    """
    user, step = current.user, _Step(current, _attempt(current, device, actor), actor)
    with hasher.current().place(Share.KNOWN) as place, step.counted():
        place.verify(user.password_hash, password)
        with database.transaction() as session:
            found = step.lock_user(session)
            if sessions.has_factor(session, found.id) or found.password_changed_at != user.password_changed_at:
                raise WrongPassword  # meanwhile, in another browser
            return step.complete(session, found, clock.now(), [])


@dataclass(frozen=True)
class _Step:
    """One answer in a session."""

    current: CurrentSession
    attempt: AttemptCounters
    actor: Actor

    @property
    def action(self) -> Action:
        return Action.SESSION_CREATE if self.current.stage is Stage.FACTOR else Action.SESSION_CONFIRM

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Count the answer, for the limits and in the session, and let the body check it."""
        about = (self.attempt, self.action, self.current.user.id, self.actor)
        attempts.require_left(*about)
        with attempts.counted(*about, in_session=self.current.id_hash):
            yield

    def take_challenge(self) -> bytes | None:
        """Take the session's challenge in a transaction of its own: a wrong answer uses it up too."""
        with database.transaction() as session:
            return held.take_challenge(session, self.current.id_hash, clock.now())

    def lock_user(self, session: Session) -> User:
        """Return the user, locked. Raises SessionEnded if they may not sign in, or this session has ended."""
        user = session.scalar(select(User).where(User.id == self.current.user.id).with_for_update())
        if user is None or not sessions.may_sign_in(user) or not sessions.is_alive(session, self.current.id_hash):
            raise SessionEnded
        return user

    def complete(self, session: Session, user: User, now: datetime, factors: list[str]) -> CurrentSession:
        """Return the session under a new id; `user`, locked, has answered with `factors`, or else the password."""
        renewed = sessions.renew(session, self.current, user, now, has_factor=bool(factors))
        if self.current.stage is Stage.FACTOR:
            signin.complete(session, renewed, self.attempt, factors, now, self.actor)
        else:
            throttles.reset_after_success(session, self.attempt)
            trail.record(session, Action.SESSION_CONFIRM, user.id, self.actor, now, factors)
        return renewed


def _attempt(current: CurrentSession, device: Device, actor: Actor) -> AttemptCounters:
    account = ClaimedAccount(current.user, typed="")
    return attempt_limits.counters_for_pages(account, device, actor.ip_address)
