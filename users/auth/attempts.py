"""An attempt at a password or a second factor: counted before the check, recorded if it was wrong."""

import contextlib
from collections.abc import Iterator

from users import clock
from users.actors import Actor
from users.audit import trail
from users.audit.trail import Action, Outcome
from users.auth import sessions, throttles
from users.auth.authorization import reauthorize
from users.auth.factors.held import WrongCode
from users.auth.throttles import AttemptCounters
from users.errors import RateLimitExceeded, Unavailable
from users.form_errors import AnswersUsedUp
from users.passwords.hashing import WrongPassword
from users.roles import Permission
from users.storage import database


def require_left(attempt: AttemptCounters, action: Action, target_id: str | None, actor: Actor) -> None:
    """Raise TooManyWrongPasswords or AccountLocked unless an attempt is left. It counts nothing.

    Of the attempts that are refused so, only the first of a period leaves an audit row: a flood of them writes nothing.
    """
    with _recording_refusal(attempt, action, target_id, actor), database.reading() as session:
        throttles.require_attempts_left(session, attempt)


@contextlib.contextmanager
def counted(
    attempt: AttemptCounters,
    action: Action,
    target_id: str | None,
    actor: Actor,
    *permissions: Permission,
    in_session: bytes | None = None,
) -> Iterator[None]:
    """Count the attempt, then let the body check it, which raises WrongPassword.

    A wrong answer leaves an audit row. With `permissions`, `actor` is reauthorized before the answer. `in_session` is
    the hash of the session in which the user answers: it is counted there too, and the last of MOST_ANSWERS wrong ones
    ends the session. Raises as `require_left`, SessionEnded, and AnswersUsedUp.
    """
    with _recording_refusal(attempt, action, target_id, actor), database.transaction() as session:
        # Every transaction locks rows of sessions before those of throttles.
        number = sessions.count_answer(session, in_session) if in_session else 0
        throttles.count_attempt(session, attempt)
    try:
        yield
    except WrongPassword as error:
        with database.transaction() as session:
            if permissions:
                actor = reauthorize(session, actor, *permissions)
            if in_session and number == sessions.MOST_ANSWERS:
                sessions.end_one(session, in_session)
            throttles.restart_periods(session, attempt)
            fields = error.fields if isinstance(error, WrongCode) else []
            trail.record(session, action, target_id, actor, clock.now(), fields, outcome=Outcome.REFUSED)
        if number == sessions.MOST_ANSWERS:
            raise AnswersUsedUp from None
        raise
    except Exception:  # overloaded, or a database that went away: the caller has learnt nothing
        with contextlib.suppress(Unavailable):
            _give_back(attempt, in_session)
        raise


def _give_back(attempt: AttemptCounters, in_session: bytes | None) -> None:
    with database.transaction() as session:
        if in_session:
            sessions.give_answer_back(session, in_session)
        throttles.give_back(session, attempt)


@contextlib.contextmanager
def _recording_refusal(attempt: AttemptCounters, action: Action, target_id: str | None, actor: Actor) -> Iterator[None]:
    """Record in the audit trail that no attempt is left, if the body raises that."""
    try:
        yield
    except RateLimitExceeded:
        throttles.record_first_refusal(attempt, action, target_id, actor)
        raise
