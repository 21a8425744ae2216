"""The acts that change a user: each is one function, in one transaction with its audit row.

They need an application context and no request. They raise Denied if `actor`, reauthorized in the transaction, may not
do it, and UserNotFound if there is no such user. `change`, `delete` and `restore` are the acts in a transaction of the
caller, who has reauthorized the actor: an act on many users does several in one.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from users import clock, ids
from users.actors import Actor
from users.audit import trail
from users.audit.trail import Action
from users.auth import attempt_limits, hasher, known_networks, sessions
from users.auth.authorization import authorized_transaction
from users.auth.factors import held
from users.errors import LastAdministrator, UserNotFound
from users.roles import Permission, Role, needed_to_act_on, permissions_of
from users.rules.emails import Email
from users.rules.validation import CHANGE_FIELDS, COLUMN_FIELDS, UserChanges
from users.services import api_keys, user_creation, user_queries
from users.storage import database
from users.storage.models import User

# A change of one of these ends the user's password link: an operator could else keep a link until the user is an
# administrator.
_END_LINK = {"email_key", "global_role_id", "is_active", "password_hash"}
_ADMINISTRATORS_LOCK = 0x61646D696E  # "admin", the number of the lock
# Called with the user, locked, before the change: an error that it raises stops the act.
Precondition = Callable[[User], None]


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
            user, _ = change(session, user_id, changes, password_hash, actor=actor, precondition=precondition)
    except IntegrityError as error:
        if not (changes.email and user_creation.is_taken(error)):
            raise
        raise user_creation.conflict(changes.email, actor) from None
    return user


def change(
    session: Session,
    user_id: str,
    changes: UserChanges,
    password_hash: str | None = None,
    *,
    actor: Actor,
    precondition: Precondition | None = None,
) -> tuple[User, bool]:
    """Do `update_user` in this transaction. Return the user, and whether there was something to change.

    An error that it raises has left the user as they were, but for the IntegrityError of a taken email.
    """
    may_demote = bool(changes.given & {"is_active", "global_role_id"})
    administrators = lock_administrators(session) if may_demote else []
    user = lock_for_change(session, user_id, actor, precondition)
    values = _differences(user, changes, password_hash)
    if "global_role_id" in values:
        _require_may_assign(user, values["global_role_id"], actor)
    if "password_hash" in values and needed_to_act_on(user.global_role_id):
        actor.require_confirmation()
    if administrators == [user.id] and not _stays_administrator(values):
        raise LastAdministrator(user.id)
    if values:
        _set(session, user, values, actor)
    return user, bool(values)


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
        return delete(session, user_id, actor=actor, precondition=precondition)


def delete(session: Session, user_id: str, *, actor: Actor, precondition: Precondition | None = None) -> User:
    """Do `delete_user` in this transaction. An error that it raises has left the user as they were."""
    administrators = lock_administrators(session)
    user = lock_for_change(session, user_id, actor, precondition)
    if administrators == [user.id]:
        raise LastAdministrator(user.id)
    now = clock.now()
    user.deleted_at = now
    user.touch(now)
    _end_access(session, user)
    trail.record(session, Action.USER_DELETE, user.id, actor, now, [])
    return user


def restore_user(user_id: str, *, actor: Actor) -> User:
    """Restore a deleted user as deactivated: with password and role, without sessions, keys, links and second factors.

    A user who is not deleted stays as they are, without an audit row. Raises Conflict if another user has the email by
    now (the database's unique index decides).
    """
    try:
        with authorized_transaction(actor, Permission.USERS_DELETE) as (session, actor):
            user, _ = restore(session, user_id, actor=actor)
    except IntegrityError as error:
        if not user_creation.is_taken(error):
            raise
        gone = user_queries.get_user_even_deleted(user_id)
        raise user_creation.conflict(Email(gone.email, gone.email_key), actor) from None
    return user


def restore(session: Session, user_id: str, *, actor: Actor) -> tuple[User, bool]:
    """Do `restore_user` in this transaction. Return the user, and whether they were deleted.

    An error that it raises has left the user as they were, but for the IntegrityError of a taken email.
    """
    # The lock lets a new row refer to the user: one who rolls a key holds that key, which a restore waits for.
    user = _find_for_change(session, user_id, actor, select(User).with_for_update(key_share=True))
    if user.deleted_at is None:
        return user, False
    if needed_to_act_on(user.global_role_id):  # as for giving such a role
        actor.require_confirmation()
    now = clock.now()
    user.deleted_at = None
    user.touch(now)
    user.email_changed_at = user.updated_at  # ends the links that verify the email
    _end_access(session, user)  # once more: an older version that deleted the user did not know all of it
    api_keys.revoke_all_of(session, user.id, actor)
    trail.record(session, Action.USER_RESTORE, user.id, actor, now, [])
    return user, True


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

    No actor changes a user with permissions that the actor does not hold: else an operator could take over an
    administrator.
    """
    present = select(User).where(User.deleted_at.is_(None)).with_for_update()
    user = _find_for_change(session, user_id, actor, present)
    if precondition:
        precondition(user)
    return user


def _find_for_change(session: Session, user_id: str, actor: Actor, users: Select[User]) -> User:
    # A path can hold NUL, which Postgres refuses in a text.
    user = session.scalar(users.where(User.id == user_id)) if ids.is_user_id(user_id) else None
    if user is None:
        raise UserNotFound
    actor.require(*needed_to_act_on(user.global_role_id))
    return user


def _end_access(session: Session, user: User) -> None:
    """Deactivate the user and end all with which they get in but the password, and the API keys."""
    user.is_active = False
    user.password_link_ends_at = None
    sessions.end_all(session, user.id)
    held.forget(session, user.id)
    known_networks.forget(session, [user.id])
    attempt_limits.unlock(session, user)


def lock_administrators(session: Session) -> list[str]:
    """Return the ids of the active administrators, locked: no other act adds or removes one until the transaction ends.

    It is an advisory lock. Row locks, taken one by one, would show rows of different moments: two administrators who
    leave at the same time could each count the other. Call it before any row is locked.
    """
    database.advisory_lock(session, _ADMINISTRATORS_LOCK)
    return list(session.scalars(user_queries.active_administrators()))


def _differences(user: User, changes: UserChanges, password_hash: str | None) -> dict[str, Any]:
    """Return the columns of `user` that are to change, with their new values."""
    plain = changes.given & set(COLUMN_FIELDS)
    values = {name: getattr(changes, name) for name in plain if getattr(changes, name) != getattr(user, name)}
    if changes.email and user.email not in (changes.email.text, changes.email_as_sent):
        if changes.bad_email:
            raise changes.bad_email
        values["email"] = changes.email.text
        if changes.email.key != user.email_key:  # another email, not another spelling
            values |= {"email_key": changes.email.key, "last_verified": None}
    return values | ({"password_hash": password_hash} if password_hash else {})


def _require_may_assign(user: User, role: Role | None, actor: Actor) -> None:
    """Raise Denied if the actor does not hold all that the role gives. `lock_for_change` has checked the old role.

    Raises ConfirmationNeeded if the role is `role_admin`, and if the old one gives permissions: without them, another's
    password is set without a proof.
    """
    actor.require(Permission.ROLES_ASSIGN, *permissions_of(role))
    if role is Role.ADMIN or needed_to_act_on(user.global_role_id):
        actor.require_confirmation()


def _stays_administrator(values: dict[str, Any]) -> bool:
    return values.get("is_active") is not False and values.get("global_role_id", Role.ADMIN) == Role.ADMIN


def _set(session: Session, user: User, values: dict[str, Any], actor: Actor) -> None:
    now = clock.now()
    for name, value in values.items():
        setattr(user, name, value)
    user.touch(now)
    if values.keys() & _END_LINK:
        user.password_link_ends_at = None
    if "email" in values:
        user.email_changed_at = user.updated_at  # always later than before, also if the clock was set back
    # With the flag, a session sets a new password without the present one: a stolen session of before must not.
    if values.keys() & {"password_hash", "is_active"} or values.get("password_change_required"):
        sessions.end_all(session, user.id)
    if "password_hash" in values:
        user.password_changed_at = now
        known_networks.forget(session, [user.id])
        attempt_limits.unlock(session, user)
    fields = [name for name in CHANGE_FIELDS if name in values or (name == "password" and "password_hash" in values)]
    trail.record(session, _action(user, fields), user.id, actor, now, fields)


def _action(user: User, fields: list[str]) -> Action:
    """Return the action: a change of the password, or of is_active alone, has its own."""
    if set(fields) - {"password_change_required"} == {"password"}:
        return Action.USER_SET_PASSWORD
    if fields == ["is_active"]:
        return Action.USER_REACTIVATE if user.is_active else Action.USER_DEACTIVATE
    return Action.USER_UPDATE
