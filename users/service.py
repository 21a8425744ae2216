"""The acts on users: each one function, in one transaction with its audit row. Every door ends here.

They need an application context and no request. `actor` says who acts; what the actor may not do raises Denied.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from flask import current_app
from sqlalchemy import ColumnElement, Select, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from users import audit, clock, database, ids, sessions
from users.actors import Actor
from users.audit import Action
from users.emails import Email
from users.errors import Conflict, LastAdministrator, UserNotFound
from users.models import User, db
from users.passwords import Hasher
from users.refusals import UserChanged
from users.roles import Permission, Role, permissions_of
from users.validation import NewUser

_INSERT = insert(db.metadata.tables["users"])


def create_user(new: NewUser, *, actor: Actor, condition: Callable[[Session, User], None] | None = None) -> User:
    """Create a user and return it once it is on disk.

    `condition` is called inside the transaction, before the user is inserted: what it raises stops the act, what it
    writes is kept with the user or not at all. Raises Denied, Conflict when another user has the email (the
    database's unique index decides), Unavailable.
    """
    _require_may_create(new, actor)
    password_hash = hasher().hash(new.password)  # slow, so before the transaction and its lock
    try:
        with database.writing() as connection:
            now = clock.now()
            user = User(
                id=ids.new_id("usr"),
                email=new.email.address,
                email_key=new.email.key,
                first_name=new.first_name,
                last_name=new.last_name,
                password_hash=password_hash,
                is_active=True,
                global_role_id=new.role,
                created_at=now,
                updated_at=now,
            )
            if condition:
                condition(database.session_on(connection), user)
            connection.execute(_INSERT, user.as_row())
            fields = [name for name in ("email", "first_name", "last_name", "global_role_id") if getattr(user, name)]
            audit.record(connection, Action.USER_CREATE, user.id, actor, now, [*fields, "password"])
    except IntegrityError as error:
        if not database.is_violation(error, "uq_users_email_key", "users.email_key"):
            raise
        raise _conflict(new.email, actor) from None
    return user


def check_new_user(new: NewUser, *, actor: Actor) -> None:
    """Raise what `create_user` would raise now, Denied or Conflict, and write nothing.

    It looks before a leap that others may take first: only `create_user` decides.
    """
    _require_may_create(new, actor)
    conflict = _conflict(new.email, actor)
    if conflict.user_id:
        raise conflict


def _require_may_create(new: NewUser, actor: Actor) -> None:
    actor.require(Permission.USERS_CREATE)
    if new.role:
        actor.require(Permission.ROLES_ASSIGN, *new.role.permissions)  # nobody grants what they do not hold


def _conflict(email: Email, actor: Actor) -> Conflict:
    with database.reading() as session:
        user_id = session.scalar(select(User.id).where(User.email_key == email.key, User.deleted_at.is_(None)))
    return Conflict(user_id=user_id, show_user_id=Permission.USERS_READ in actor.permissions)


def get_user(user_id: str) -> User:
    """Return the user with this id, who is not deleted, or raise UserNotFound."""
    with database.reading() as session:
        return _found(session, User.id == user_id)


def get_user_by_email(email_key: str) -> User:
    """Return the user with this key of an email (`emails.lookup_key`), who is not deleted, or raise UserNotFound."""
    with database.reading() as session:
        return _found(session, User.email_key == email_key)


def list_users(*, after: str = "", limit: int = 100, active_only: bool = False) -> Sequence[User]:
    """Return at most `limit` users who are not deleted, oldest first, those made after the id `after`."""
    query = select(User).where(User.deleted_at.is_(None), User.id > after).order_by(User.id).limit(limit)
    if active_only:
        query = query.where(User.is_active)
    with database.reading() as session:
        return session.scalars(query).all()


def set_password(user_id: str, password: str, *, actor: Actor, seen_at: datetime | None = None) -> User:
    """Give the user a new password, which `validation.new_password` has checked, and end the user's sessions.

    `seen_at` is the `updated_at` of the user for whom it is meant. Raises Denied, UserNotFound, and UserChanged when
    the user has changed since.
    """
    actor.require(Permission.USERS_UPDATE)
    password_hash = hasher().hash(password)
    with database.transaction() as session:
        user = _for_change(session, user_id, actor)
        if seen_at and user.updated_at != seen_at:
            raise UserChanged
        user.password_hash = password_hash
        user.updated_at = clock.now()
        sessions.end_all(session, user.id)
        audit.record(session, Action.USER_SET_PASSWORD, user.id, actor, user.updated_at, ["password"])
    return user


def deactivate_user(user_id: str, *, actor: Actor) -> User:
    """Stop the user, with all sessions and, through access, all keys, at once; nothing happens if that is so already.

    Raises Denied, UserNotFound, LastAdministrator.
    """
    actor.require(Permission.USERS_UPDATE)
    with database.transaction() as session:
        administrators = _lock_administrators(session)
        user = _for_change(session, user_id, actor)
        if not user.is_active:
            return user
        if administrators == [user.id]:
            raise LastAdministrator
        user.is_active = False
        user.updated_at = clock.now()
        sessions.end_all(session, user.id)
        audit.record(session, Action.USER_DEACTIVATE, user.id, actor, user.updated_at, ["is_active"])
    return user


def count_active_administrators() -> int:
    """Return how many active users hold role_admin."""
    with database.reading() as session:
        return len(session.scalars(_active_administrators()).all())


def has_administrator(session: Session) -> bool:
    """Tell, inside a transaction, whether an active user holds role_admin."""
    return session.scalar(_active_administrators().limit(1)) is not None


def hasher() -> Hasher:
    """Return the application's one hasher."""
    found: Hasher = current_app.extensions["enrol.hasher"]
    return found


def _found(session: Session, condition: ColumnElement[bool]) -> User:
    user = session.scalar(select(User).where(condition, User.deleted_at.is_(None)))
    if user is None:
        raise UserNotFound
    return user


def _for_change(session: Session, user_id: str, actor: Actor) -> User:
    """Return the user, locked until the end of the transaction, whom `actor` may change.

    Nobody changes a user who holds what they do not: an operator could otherwise take over an administrator.
    """
    user = session.scalar(select(User).where(User.id == user_id, User.deleted_at.is_(None)).with_for_update())
    if user is None:
        raise UserNotFound
    actor.require(*permissions_of(user.global_role_id))
    return user


def _active_administrators() -> Select[str]:
    return select(User.id).where(User.global_role_id == Role.ADMIN, User.is_active, User.deleted_at.is_(None))


def _lock_administrators(session: Session) -> list[str]:
    """Return the ids of the active administrators, locked until the end of the transaction.

    Two who leave at once must not each count the other. To be called before the row of one of them is locked, or
    the two would wait for each other.
    """
    return list(session.scalars(_active_administrators().order_by(User.id).with_for_update()))
