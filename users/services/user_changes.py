"""The acts that change a user: each is one function, in one transaction with its audit row.

They need an application context and no request. They raise Denied if `actor`, reauthorized in the transaction, may not
do it, and UserNotFound if there is no such user. `changes/each` has those that an act on many users does too.
"""

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from users import clock
from users.actors import Actor
from users.audit import trail
from users.audit.trail import Action
from users.auth import attempt_limits, hasher, sessions
from users.auth.authorization import authorized_transaction
from users.roles import Permission
from users.rules.emails import Email
from users.rules.validation import UserChanges
from users.services import user_creation, user_queries
from users.services.changes import each
from users.services.changes.outcomes import Precondition, of_each
from users.storage.models import User


def update_user(user_id: str, changes: UserChanges, *, actor: Actor, precondition: Precondition | None = None) -> User:
    """Change the user and return it. A value that the user has already is no change and leaves no audit row.

    A new email is not verified; another spelling of the same email stays so. A new password, a deactivation and a new
    `password_change_required` end the user's sessions; while a user is deactivated, the API keys do not work. Raises
    Conflict if another user has the email (the database's unique index decides), LastAdministrator, and Invalid for a
    new email that is not allowed (`bad_email`).
    """
    actor.require(Permission.USERS_UPDATE)
    # Slow, so before the transaction and its lock.
    password_hash = hasher.hash_password(changes.password, actor) if changes.password else None
    try:
        with authorized_transaction(actor, Permission.USERS_UPDATE) as (session, actor):
            changed = each.change(session, [user_id], changes, password_hash, actor=actor, precondition=precondition)
            return changed.of_one()[0]
    except IntegrityError as error:
        if not (changes.email and user_creation.is_taken(error)):
            raise
        raise user_creation.conflict(changes.email, actor) from None


def set_password(
    user_id: str,
    password: str,
    *,
    actor: Actor,
    must_change: bool | None = None,
    precondition: Precondition | None = None,
) -> User:
    """Set a password that `validation.new_password` has checked, and end the user's sessions and password link.

    `must_change` says whether the user must choose a new one at the next sign-in; None leaves that as it is.
    """
    given = {"password"} if must_change is None else {"password", "password_change_required"}
    changes = UserChanges(frozenset(given), password=password, password_change_required=must_change)
    return update_user(user_id, changes, actor=actor, precondition=precondition)


def deactivate_user(user_id: str, *, actor: Actor) -> User:
    """Deactivate the user and end all sessions; the API keys stop working. Raises LastAdministrator."""
    return update_user(user_id, UserChanges(frozenset({"is_active"}), is_active=False), actor=actor)


def reactivate_user(user_id: str, *, actor: Actor) -> User:
    """Reactivate the user; API keys that are not revoked or expired work again, sessions stay ended."""
    return update_user(user_id, UserChanges(frozenset({"is_active"}), is_active=True), actor=actor)


def delete_user(user_id: str, *, actor: Actor, precondition: Precondition | None = None) -> User:
    """Delete the user and end all sessions; the API keys stop working. The row stays, and the email is free again.

    Raises LastAdministrator.
    """
    actor.require_confirmation()
    with authorized_transaction(actor, Permission.USERS_DELETE) as (session, actor):
        return each.delete(session, [user_id], actor=actor, precondition=precondition).of_one()[0]


def restore_user(user_id: str, *, actor: Actor) -> User:
    """Restore a deleted user as deactivated: with password and role, without sessions, keys, links and second factors.

    A user who is not deleted stays as they are, without an audit row. Raises Conflict if another user has the email by
    now (the database's unique index decides).
    """
    try:
        with authorized_transaction(actor, Permission.USERS_DELETE) as (session, actor):
            return each.restore(session, [user_id], actor=actor).of_one()[0]
    except IntegrityError as error:
        if not user_creation.is_taken(error):
            raise
        gone = user_queries.get_user_even_deleted(user_id)
        raise user_creation.conflict(Email(gone.email, gone.email_key), actor) from None


def verify_user(user_id: str, *, actor: Actor, precondition: Precondition | None = None) -> User:
    """Store that the user's email is verified now."""
    with authorized_transaction(actor, Permission.USERS_UPDATE) as (session, actor):
        user = lock_for_change(session, user_id, actor, precondition)
        user.last_verified = clock.now()
        user.touch(user.last_verified)
        trail.record(session, Action.USER_VERIFY, user.id, actor, user.last_verified, ["last_verified"])
    return user


def unlock_user(user_id: str, *, actor: Actor) -> User:
    """Delete the counters of wrong passwords of the user, for the pages and for `verify-password`."""
    with authorized_transaction(actor, Permission.USERS_UPDATE) as (session, actor):
        user = lock_for_change(session, user_id, actor)
        if attempt_limits.unlock(session, user):
            trail.record(session, Action.USER_UNLOCK, user.id, actor, clock.now(), [])
    return user


def end_sessions(user_id: str, *, actor: Actor) -> User:
    """End all sessions of the user, in every process. If there are none, nothing happens."""
    with authorized_transaction(actor, Permission.USERS_UPDATE) as (session, actor):
        user = lock_for_change(session, user_id, actor)
        if sessions.end_all(session, user.id):
            trail.record(session, Action.SESSION_END_ALL, user.id, actor, clock.now(), [])
    return user


def lock_for_change(session: Session, user_id: str, actor: Actor, precondition: Precondition | None = None) -> User:
    """Lock the user until the end of the transaction and return it, if `actor` may change it and `precondition` passes.

    Raises Denied, UserNotFound and what `precondition` raises.
    """
    return of_each(session, [user_id], lambda _user, _now: True, actor=actor, precondition=precondition).of_one()[0]
