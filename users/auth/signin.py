"""Who knows their password: people sign in and out, here or at another application, and mind their own account."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from users import clock
from users.actors import Actor
from users.audit import trail
from users.audit.trail import Action, Outcome
from users.auth import hasher, known_networks, password_limits, sessions, throttles
from users.auth.authorization import authorized_transaction, reauthorize
from users.auth.known_devices import Device
from users.auth.password_limits import ClaimedAccount
from users.auth.throttles import AttemptCounters
from users.errors import RateLimitExceeded, Unavailable
from users.passwords.hash_queue import Share
from users.passwords.hashing import PasswordPlace, WrongPassword
from users.roles import Permission, needed_to_act_on
from users.rules import emails
from users.storage import database
from users.storage.models import User

# A row, not a User, which takes longer to make than nothing: the time must not tell who is there.
_SIGN_IN_COLUMNS = select(
    User.id,
    User.password_hash,
    User.is_active,
    User.deleted_at,
    User.global_role_id,
    User.created_at,
    User.password_changed_at,
).where(User.email_key == bindparam("email_key"), User.deleted_at.is_(None))


def sign_in(email: str, password: str, *, device: Device, replacing: str = "", actor: Actor) -> tuple[User, str]:
    """Return the user and the id of a new session, which takes the place of the session `replacing`.

    Raises WrongPassword for whatever cause: the same answer after the same work for an unknown address, a wrong
    password and a user who may not sign in. It is one hash, and one more for a hash of other parameters than today's.
    Raises TooManyWrongPasswords and AccountLocked, alike for all, before any hash.
    """
    claimed = _claimed_account(email)
    tries = password_limits.counters_for_pages(claimed, device, actor.ip_address)
    with (
        _counted(tries, claimed.user, Action.SESSION_CREATE, actor) as place,
        _entering(place, claimed, password, tries, sessions.may_sign_in) as (session, found, now),
    ):
        if replacing and sessions.end(session, replacing):
            trail.record(session, Action.SESSION_END, actor.user_id, actor, now, [])
        session_id = sessions.start(session, found.id, now)
        entered = actor.signed_in_as(found.id, found.global_role_id, sessions.digest(session_id))
        trail.record(session, Action.SESSION_CREATE, found.id, entered, now, [])
    return found, session_id


def verify_password(email: str, password: str, *, ip_address: str | None = None, actor: Actor) -> User:
    """Return the active user whose email and password these are, whom another application lets in.

    `ip_address` is where the person signs in from. Raises WrongPassword for whatever cause, after the same work as
    `sign_in`, TooManyWrongPasswords and AccountLocked. A user who holds what `actor` does not is one of the causes: a
    narrow key cannot be used to try administrators' passwords.
    """
    actor.require(Permission.USERS_VERIFY)
    caller = actor.key_id or actor.kind
    claimed = _claimed_account(email, actor)
    tries = password_limits.counters_for_verify(claimed, caller, ip_address)
    with (
        _counted(tries, claimed.user, Action.USER_VERIFY_PASSWORD, actor, Permission.USERS_VERIFY) as place,
        _entering(place, claimed, password, tries, partial(_may_be_let_in, actor)) as (session, found, now),
    ):
        judged = reauthorize(session, actor, Permission.USERS_VERIFY)
        if not _may_be_let_in(judged, found):
            raise WrongPassword
        known_networks.remember(session, found.id, password_limits.network_of(caller, ip_address))
        trail.record(session, Action.USER_VERIFY_PASSWORD, found.id, judged, now, [])
    return found


def sign_out(session_id: str, *, actor: Actor) -> None:
    """End the session everywhere; nothing happens if it has ended already."""
    with database.transaction() as session:
        if sessions.end(session, session_id):
            trail.record(session, Action.SESSION_END, actor.user_id, actor, clock.now(), [])


def end_other_sessions(session_id: str, *, actor: Actor) -> None:
    """End the actor's sessions but this one."""
    with authorized_transaction(actor) as (session, actor):
        assert actor.user_id  # noqa: S101  (only somebody signed in has a session)
        if sessions.end_all(session, actor.user_id, but=session_id):
            trail.record(session, Action.SESSION_END_OTHERS, actor.user_id, actor, clock.now(), [])


def change_password(user: User, current: str, new: str, *, device: Device, actor: Actor) -> tuple[User, str]:
    """Give `user` the password `new`, checked before, end all the user's sessions, return the user and a new one's id.

    `current` is a try like one at signing in. Raises WrongPassword when it is not the user's password (any more),
    TooManyWrongPasswords and AccountLocked.
    """
    tries = replace(
        password_limits.counters_for_pages(ClaimedAccount(user, typed=""), device, actor.ip_address), is_known=True
    )
    with _counted(tries, user, Action.USER_SET_PASSWORD, actor) as place:
        place.verify(user.password_hash, current)
        return _replace_password(user, place.hash(new), actor)


def _replace_password(user: User, password_hash: str, actor: Actor) -> tuple[User, str]:
    with authorized_transaction(actor) as (session, actor):
        found = _unchanged(session, user, sessions.may_sign_in)
        known_networks.forget(session, [found.id])
        password_limits.unlock(session, found)
        now = clock.now()
        found.password_hash = password_hash
        found.password_changed_at = now
        found.touch(now)
        sessions.end_all(session, found.id)
        trail.record(session, Action.USER_SET_PASSWORD, found.id, actor, now, ["password"])
        return found, sessions.start(session, found.id, now)


@contextlib.contextmanager
def _counted(
    tries: AttemptCounters, target: Any, action: Action, actor: Actor, *permissions: Permission
) -> Iterator[PasswordPlace]:
    """Count the password that is judged inside among `tries`; yield a place in the hash queue, taken before that.

    A wrong one leaves an audit row. Of those refused unchecked, only the first does, until there are tries again: a
    flood of them writes nothing and takes no place. With `permissions`, the actor is judged again before the answer.
    """
    target_id = target.id if target else None
    with _noting_refusal(tries, action, target_id, actor), database.reading() as session:
        throttles.require_left(session, tries)
    with hasher.current().place(Share.KNOWN if tries.is_known else Share.TYPED) as place:
        with _noting_refusal(tries, action, target_id, actor), database.transaction() as session:
            throttles.spend(session, tries)
        try:
            yield place
        except WrongPassword:
            with database.transaction() as session:
                if permissions:
                    actor = reauthorize(session, actor, *permissions)
                throttles.note_wrong(session, tries)
                trail.record(session, action, target_id, actor, clock.now(), [], outcome=Outcome.REFUSED)
            raise
        except Exception:  # overloaded, or a database that went away: the caller has learnt nothing
            with contextlib.suppress(Unavailable):
                throttles.give_back(tries)
            raise


@contextlib.contextmanager
def _noting_refusal(tries: AttemptCounters, action: Action, target_id: str | None, actor: Actor) -> Iterator[None]:
    """Note in the audit trail that no try is left, if that is what is raised inside."""
    try:
        yield
    except RateLimitExceeded:
        throttles.note_refusal(tries, action, target_id, actor)
        raise


def _claimed_account(email: str, verifier: Actor | None = None) -> ClaimedAccount:
    """Return who is meant by `email`. A user who holds what the `verifier` does not is not counted for the account."""
    try:
        key = emails.lookup_key(email)
    except emails.BadEmail:
        key = ""
    user = database.find(_SIGN_IN_COLUMNS, email_key=key)
    is_counted = user is None or verifier is None or needed_to_act_on(user.global_role_id) <= verifier.permissions
    return ClaimedAccount(user, key or email, is_counted)


@contextlib.contextmanager
def _entering(
    place: PasswordPlace, claimed: ClaimedAccount, password: str, tries: AttemptCounters, may: Callable[[Any], bool]
) -> Iterator[tuple[Session, User, datetime]]:
    """Judge the password, and yield the transaction in which its user, locked, enters now.

    A hash of older parameters is made anew. Raises WrongPassword, also for a user who is not there or who `may` not.
    """
    user = claimed.user
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


def _may_be_let_in(actor: Actor, user: Any) -> bool:
    return user.is_active and user.deleted_at is None and needed_to_act_on(user.global_role_id) <= actor.permissions


def _unchanged(session: Session, user: Any, may: Callable[[Any], bool]) -> User:
    """Return `user` anew, locked; a password that was changed while a hash was computed is wrong now.

    Another hash of the same password is no change: another sign-in has made it anew.
    """
    found = session.scalar(select(User).where(User.id == user.id).with_for_update())
    if found is None or found.password_changed_at != user.password_changed_at or not may(found):
        raise WrongPassword
    return found
