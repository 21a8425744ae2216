"""Sign-in and sign-out at the pages, passwords verified for other applications, and changes of one's own password."""

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
from users.audit.trail import Action
from users.auth import attempt_limits, attempts, decoys, hasher, known_networks, session_list, sessions, throttles
from users.auth.attempt_limits import ClaimedAccount
from users.auth.authorization import authorized_transaction, reauthorize
from users.auth.known_devices import Device
from users.auth.sessions import CurrentSession, Place
from users.auth.throttles import AttemptCounters
from users.form_errors import SessionEnded
from users.passwords.hash_queue import Share
from users.passwords.hashing import PasswordPlace, WrongPassword
from users.roles import Permission, needed_to_act_on
from users.rules import emails
from users.storage import database
from users.storage.models import User

_NOWHERE = Place()
# A row, not a User: to make a User takes measurable time, and the time must not tell whether there is one.
_SIGN_IN_COLUMNS = select(
    User.id,
    User.password_hash,
    User.password_make,
    User.is_active,
    User.deleted_at,
    User.global_role_id,
    User.created_at,
    User.password_changed_at,
).where(User.email_key == bindparam("email_key"), User.deleted_at.is_(None))


def sign_in(
    email: str, password: str, *, device: Device, replacing: str = "", browser: str | None = None, actor: Actor
) -> CurrentSession:
    """Return a new session, which replaces the session with the id `replacing`.

    For a user with a second factor it awaits the factor: see `second_step`. Only then are attempts given back.
    Raises WrongPassword for an unknown email, a wrong password and a user who may not sign in: the same answer after
    the same work, which is one hash, and one more if the stored hash has other parameters than today's or another
    system made it. While users have such hashes, so have unknown emails: see `decoys`. Raises
    TooManyWrongPasswords and AccountLocked before any hash, also for an unknown email.
    """
    account = _claimed_account(email)
    attempt = attempt_limits.counters_for_pages(account, device, actor.ip_address)
    with (
        _counted(attempt, account.user, Action.SESSION_CREATE, actor) as place,
        _signing_in(place, account, password, sessions.may_sign_in) as (session, found, now),
    ):
        if replacing and sessions.end(session, replacing) and actor.user_id:
            trail.record(session, Action.SESSION_END, actor.user_id, actor, now, [])
        here = Place(actor.ip_address, browser, attempt.is_known)
        has_factor = sessions.has_factor(session, found.id)
        started = sessions.start(session, found, now, here, has_factor=has_factor, awaits_factor=has_factor)
        if has_factor:
            throttles.give_back(session, attempt)
        else:
            complete(session, started, attempt, [], now, actor)
    return started


def complete(
    session: Session,
    started: CurrentSession,
    attempt: AttemptCounters,
    factors: list[str],
    now: datetime,
    actor: Actor,
) -> None:
    """Record that a sign-in is complete: the user, whose row is locked, has given the password and the `factors`."""
    throttles.reset_after_success(session, attempt)
    started.user.last_login = now
    signed_in = actor.signed_in_as(started.user.id, started.permissions, started.id_hash)
    trail.record(session, Action.SESSION_CREATE, started.user.id, signed_in, now, factors)


def verify_password(email: str, password: str, *, ip_address: str | None = None, actor: Actor) -> User:
    """Return the active user with this email and password, for another application that signs the user in.

    `ip_address` is where the person signs in from. Raises the errors of `sign_in`, after the same work. Raises
    WrongPassword also for a user with permissions that `actor` does not hold, so a narrow key cannot be used to guess
    an administrator's password.
    """
    actor.require(Permission.USERS_VERIFY)
    caller = actor.key_id or actor.kind
    account = _claimed_account(email, actor)
    attempt = attempt_limits.counters_for_verify(account, caller, ip_address)
    with (
        _counted(attempt, account.user, Action.USER_VERIFY_PASSWORD, actor, Permission.USERS_VERIFY) as place,
        _signing_in(place, account, password, partial(_may_verify, actor)) as (session, found, now),
    ):
        actor = reauthorize(session, actor, Permission.USERS_VERIFY)
        if not _may_verify(actor, found):
            raise WrongPassword
        throttles.reset_after_success(session, attempt)
        found.last_login = now
        known_networks.remember(session, found.id, attempt_limits.network_of(caller, ip_address))
        trail.record(session, Action.USER_VERIFY_PASSWORD, found.id, actor, now, [])
    return found


def sign_out(session_id: str, *, actor: Actor) -> None:
    """End the session in every process. If it has ended already, nothing happens."""
    with database.transaction() as session:
        if sessions.end(session, session_id) and actor.user_id:  # not one that awaits its factor
            trail.record(session, Action.SESSION_END, actor.user_id, actor, clock.now(), [])


def end_other_sessions(session_id: str, *, actor: Actor) -> None:
    """End all sessions of the actor except this one."""
    with authorized_transaction(actor) as (session, actor):
        assert actor.user_id  # noqa: S101  (an actor with a session is a user)
        if sessions.end_all(session, actor.user_id, but=session_id):
            trail.record(session, Action.SESSION_END_OTHERS, actor.user_id, actor, clock.now(), [])


def end_own_session(name: str, *, actor: Actor) -> None:
    """End the actor's session of this name, see `session_list`, in every process. If it has ended, nothing happens."""
    with authorized_transaction(actor) as (session, actor):
        user = session.scalars(select(User).where(User.id == actor.user_id).with_for_update()).one()
        if session_list.end_named(session, user.id, name, but=actor.session_hash):
            trail.record(session, Action.SESSION_END_OTHER, user.id, actor, clock.now(), [])


def change_password(
    user: User, current: str, new: str, *, device: Device, place: Place = _NOWHERE, actor: Actor
) -> CurrentSession:
    """Set the password of `user` to `new` and end all their sessions; return a new session.

    `new` is validated already. `current` counts as an attempt, as at sign-in, and in the session. Raises WrongPassword
    if it is not the user's password (any more), SessionEnded, TooManyWrongPasswords and AccountLocked.
    """
    account = ClaimedAccount(user, typed="")
    attempt = replace(attempt_limits.counters_for_pages(account, device, actor.ip_address), is_known=True)
    with _counted(attempt, user, Action.USER_SET_PASSWORD, actor, in_session=actor.session_hash) as hashing:
        hashing.verify(user.password_hash, current)
        return _replace_password(user, hashing.hash(new), place, actor)


def choose_password(user: User, new: str, *, place: Place = _NOWHERE, actor: Actor) -> CurrentSession:
    """Set the password of `user`, who must choose a new one and is signed in with the old one, as `change_password`.

    Raises Invalid (PASSWORD_UNCHANGED) if `new`, validated already, is the old one, and SessionEnded if another browser
    or a link has set a password meanwhile.
    """
    actor.require_confirmation()
    with hasher.current().place(Share.KNOWN) as hashing:
        hasher.require_other(hashing, user.password_hash, new)
        try:
            return _replace_password(user, hashing.hash(new), place, actor)
        except WrongPassword:  # the other change ended all sessions
            raise SessionEnded from None


def _replace_password(user: User, password_hash: str, place: Place, actor: Actor) -> CurrentSession:
    with authorized_transaction(actor) as (session, actor):
        found = _unchanged(session, user, sessions.may_sign_in)
        now = clock.now()
        found.password_hash = password_hash
        found.password_changed_at = now
        found.password_link_ends_at = None
        fields = ["password", "password_change_required"] if found.password_change_required else ["password"]
        found.password_change_required = False
        found.touch(now)
        sessions.end_all(session, found.id)
        known_networks.forget(session, [found.id])
        attempt_limits.unlock(session, found)
        trail.record(session, Action.USER_SET_PASSWORD, found.id, actor, now, fields)
        has_factor = sessions.has_factor(session, found.id)
        return sessions.start(session, found, now, place, has_factor=has_factor, awaits_factor=False)


@contextlib.contextmanager
def _counted(
    attempt: AttemptCounters,
    target: Any,
    action: Action,
    actor: Actor,
    *permissions: Permission,
    in_session: bytes | None = None,
) -> Iterator[PasswordPlace]:
    """Take a place in the hash queue, count the attempt, and yield the place to check the password in.

    An attempt that is refused unchecked takes no place. Raises and records as `attempts.counted` does.
    """
    target_id = target.id if target else None
    attempts.require_left(attempt, action, target_id, actor)
    with (
        hasher.current().place(Share.KNOWN if attempt.is_known else Share.TYPED) as place,
        attempts.counted(attempt, action, target_id, actor, *permissions, in_session=in_session),
    ):
        yield place


def _claimed_account(email: str, verifier: Actor | None = None) -> ClaimedAccount:
    """Return the account of `email`; it is not counted if the user has permissions that `verifier` does not hold."""
    keys = [possible.key for possible in emails.possible_emails(email)] or [""]
    found = [database.find(_SIGN_IN_COLUMNS, email_key=key) for key in keys]  # all: the time tells of no user
    user = next((one for one in found if one is not None), None)
    is_counted = user is None or verifier is None or needed_to_act_on(user.global_role_id) <= verifier.permissions
    return ClaimedAccount(user, keys[-1] or email, is_counted)  # the last: all spellings of an email have it


@contextlib.contextmanager
def _signing_in(
    place: PasswordPlace, account: ClaimedAccount, password: str, may_sign_in: Callable[[Any], bool]
) -> Iterator[tuple[Session, User, datetime]]:
    """Check the password, and yield the transaction that signs in the user, who is locked, and the time.

    A hash with older parameters, or of another system, is replaced. Raises WrongPassword, also if there is no such user
    or `may_sign_in` refuses the user.
    """
    user, make = account.user, decoys.make_for(account.typed)
    if user and user.password_hash:
        make = user.password_make
    password_hash = place.verify(user.password_hash if user else None, password, make)
    if user is None or not may_sign_in(user):
        raise WrongPassword
    with database.transaction() as session:
        found = _unchanged(session, user, may_sign_in)
        now = clock.now()
        if found.password_hash != password_hash:  # the user's password link is signed over the one before
            found.password_hash, found.password_link_ends_at = password_hash, None
        yield session, found, now


def _may_verify(actor: Actor, user: Any) -> bool:
    return user.is_active and user.deleted_at is None and needed_to_act_on(user.global_role_id) <= actor.permissions


def _unchanged(session: Session, user: Any, may_sign_in: Callable[[Any], bool]) -> User:
    """Read `user` again and lock the row. Raises WrongPassword if the password was changed during the hash.

    Another hash of the same password is no change: another sign-in has replaced the hash.
    """
    found = session.scalar(select(User).where(User.id == user.id).with_for_update())
    if found is None or found.password_changed_at != user.password_changed_at or not may_sign_in(found):
        raise WrongPassword
    return found
