"""Who knows their password: people sign in and out, here or at another application, and mind their own account."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from users import audit, clock, database, emails, service, sessions, throttles
from users.actors import Actor
from users.audit import Action, Outcome
from users.errors import TooManyWrongPasswords, Unavailable
from users.gate import Share
from users.models import User
from users.passwords import PasswordPlace, WrongPassword
from users.roles import Permission, permissions_of
from users.throttles import Tries


def sign_in(email: str, password: str, *, replacing: str = "", actor: Actor) -> tuple[User, str]:
    """Return the user and the id of a new session, which takes the place of the session `replacing`.

    Raises WrongPassword for whatever cause: the same answer after the same work for an unknown address, a wrong
    password and a user who may not sign in. It is one hash, and one more for a hash of other parameters than today's.
    Raises TooManyWrongPasswords, alike for all, before any hash.
    """
    key = _email_key(email)
    user = _candidate(key)
    tries = throttles.of(key or email, actor.address)
    with (
        _place() as place,
        _counted(tries, user, Action.SESSION_CREATE, actor),
        _entering(place, user, password, tries, sessions.may_sign_in) as (session, found, now),
    ):
        if replacing and sessions.end(session, replacing):
            audit.record(session, Action.SESSION_END, actor.user_id, actor, now, [])
        session_id = sessions.start(session, found.id, now)
        audit.record(session, Action.SESSION_CREATE, found.id, actor.become(found.id, found.global_role_id), now, [])
    return found, session_id


def verify_password(email: str, password: str, *, actor: Actor) -> User:
    """Return the active user whose email and password these are, whom another application lets in.

    Raises WrongPassword for whatever cause, after the same work as `sign_in`, and TooManyWrongPasswords. A user who
    holds what `actor` does not is one of the causes: a narrow key cannot be used to try administrators' passwords.
    """
    actor.require(Permission.USERS_VERIFY)
    key = _email_key(email)
    user = _candidate(key)
    tries = throttles.of_account(key or email)
    with (
        _place() as place,
        _counted(tries, user, Action.USER_VERIFY_PASSWORD, actor),
        _entering(place, user, password, tries, partial(_may_be_let_in, actor)) as (session, found, now),
    ):
        audit.record(session, Action.USER_VERIFY_PASSWORD, found.id, actor, now, [])
    return found


def sign_out(session_id: str, *, actor: Actor) -> None:
    """End the session everywhere; nothing happens if it has ended already."""
    with database.transaction() as session:
        if sessions.end(session, session_id):
            audit.record(session, Action.SESSION_END, actor.user_id, actor, clock.now(), [])


def end_other_sessions(session_id: str, *, actor: Actor) -> None:
    """End the actor's sessions but this one."""
    assert actor.user_id  # noqa: S101  (only somebody signed in has a session)
    with database.transaction() as session:
        if sessions.end_all(session, actor.user_id, but=session_id):
            audit.record(session, Action.SESSION_END_OTHERS, actor.user_id, actor, clock.now(), [])


def change_password(user: User, current: str, new: str, *, actor: Actor) -> str:
    """Give `user` the password `new`, checked before, end all the user's sessions and return the id of a new one.

    `current` is a try like one at signing in. Raises WrongPassword when it is not the user's password (any more),
    TooManyWrongPasswords.
    """
    tries = throttles.of(user.email_key, actor.address)
    with _place() as place, _counted(tries, user, Action.USER_SET_PASSWORD, actor):
        place.verify(user.password_hash, current)
        return _replace_password(user, place.hash(new), tries, actor)


def _replace_password(user: User, password_hash: str, tries: Tries, actor: Actor) -> str:
    with database.transaction() as session:
        found = _unchanged(session, user, sessions.may_sign_in)
        throttles.restore(session, tries)
        now = clock.now()
        found.password_hash = password_hash
        found.touch(now)
        sessions.end_all(session, found.id)
        audit.record(session, Action.USER_SET_PASSWORD, found.id, actor, now, ["password"])
        return sessions.start(session, found.id, now)


def _place() -> contextlib.AbstractContextManager[PasswordPlace]:
    """Return the place in the hash queue that is taken before a try is: an overloaded service writes nothing."""
    return service.hasher().place(Share.TYPED)


@contextlib.contextmanager
def _counted(tries: Tries, target: User | None, action: Action, actor: Actor) -> Iterator[None]:
    """Count the password that is judged inside among `tries`.

    A wrong one leaves an audit row. Of those refused unseen, only the first does, until there are tries again: a
    flood of them writes nothing.
    """
    try:
        throttles.spend(tries)
    except TooManyWrongPasswords:
        with database.transaction() as session:
            if throttles.is_first_refusal(session, tries):
                _note(session, target, action, actor, outcome=Outcome.THROTTLED)
        raise
    try:
        yield
    except WrongPassword:
        with database.transaction() as session:
            _note(session, target, action, actor, outcome=Outcome.REFUSED)
        raise
    except Exception:  # overloaded, or a database that went away: nobody has learnt anything
        with contextlib.suppress(Unavailable):
            throttles.give_back(tries)
        raise


def _note(session: Session, target: User | None, action: Action, actor: Actor, *, outcome: Outcome) -> None:
    audit.record(session, action, target.id if target else None, actor, clock.now(), [], outcome=outcome)


def _email_key(email: str) -> str:
    """Return the key of the address, or nothing if it is none."""
    try:
        return emails.lookup_key(email)
    except emails.BadEmail:
        return ""


def _candidate(key: str) -> User | None:
    with database.reading() as session:
        return session.scalar(select(User).where(User.email_key == key, User.deleted_at.is_(None)))


@contextlib.contextmanager
def _entering(
    place: PasswordPlace, user: User | None, password: str, tries: Tries, may: Callable[[User], bool]
) -> Iterator[tuple[Session, User, datetime]]:
    """Judge the password, and yield the transaction in which its user, locked, enters now.

    A hash of older parameters is made anew. Raises WrongPassword, also for a user who is not there or who `may` not.
    """
    password_hash = place.verify(user.password_hash if user else None, password)
    if user is None or not may(user):
        raise WrongPassword
    with database.transaction() as session:
        found = _unchanged(session, user, may)
        throttles.restore(session, tries)
        now = clock.now()
        found.password_hash = password_hash
        found.last_login = now
        yield session, found, now


def _may_be_let_in(actor: Actor, user: User) -> bool:
    return user.is_active and user.deleted_at is None and permissions_of(user.global_role_id) <= actor.permissions


def _unchanged(session: Session, user: User, may: Callable[[User], bool]) -> User:
    """Return `user` anew, locked; a password that was changed while a hash was computed is wrong now."""
    found = session.scalar(select(User).where(User.id == user.id).with_for_update())
    if found is None or found.password_hash != user.password_hash or not may(found):
        raise WrongPassword
    return found
