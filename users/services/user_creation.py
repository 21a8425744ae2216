"""Users created and read: each act one function, in one transaction with its audit row. Every door ends here.

They need an application context and no request. `actor` says who acts; what the actor may not do raises Denied.
"""

from collections.abc import Callable, Sequence

from sqlalchemy import ColumnElement, Select, bindparam, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from users import clock, ids
from users.actors import Actor
from users.audit import trail
from users.audit.trail import Action
from users.auth import authorization, hasher
from users.errors import Conflict, UserNotFound
from users.roles import Permission, Role
from users.rules.emails import Email
from users.rules.validation import ADMIN_FIELDS, COLUMN_FIELDS, NewUser
from users.storage import database, driver_errors
from users.storage.models import Status, User

_INSERT = insert(User.metadata.tables["users"])
_COLUMNS = [name for name in COLUMN_FIELDS if name in ADMIN_FIELDS]  # those that a new user can have
# Made once, as in `authentication`.
_BY_ID = select(User).where(User.id == bindparam("id"), User.deleted_at.is_(None))
_BY_EMAIL = select(User).where(User.email_key == bindparam("email_key"), User.deleted_at.is_(None))


def create_user(new: NewUser, *, actor: Actor, before_insert: Callable[[Session, User], None] | None = None) -> User:
    """Create a user and return it once it is on disk.

    `before_insert` runs inside the transaction, before the insert of the user: an error that it raises stops the act,
    and its own writes are committed with the user or not at all. Raises Denied, Conflict if another user has the email
    (the database's unique index decides), Unavailable, and the errors of `authorization.reauthorize`.
    """
    _require_may_create(new, actor)
    password_hash = hasher.hash_password(new.password, actor)  # slow, so before the transaction and its lock
    try:
        with database.writing() as connection:
            actor = authorization.reauthorize(connection, actor)
            _require_may_create(new, actor)
            now = clock.now()
            user = User(
                id=ids.new_id("usr"),
                email=new.email.text,
                email_key=new.email.key,
                password_hash=password_hash,
                is_active=True,
                created_at=now,
                updated_at=now,
                **{name: getattr(new, name) for name in _COLUMNS},
            )
            if before_insert:
                before_insert(database.session_on(connection), user)
            connection.execute(_INSERT, user.as_row())
            fields = [name for name in ("email", *_COLUMNS) if getattr(user, name)]
            trail.record(connection, Action.USER_CREATE, user.id, actor, now, [*fields, "password"])
    except IntegrityError as error:
        if not is_taken(error):
            raise
        raise conflict(new.email, actor) from None
    return user


def check_new_user(new: NewUser, *, actor: Actor) -> None:
    """Raise what `create_user` would raise now, Denied or Conflict, and write nothing.

    It looks before a leap that others may take first: only `create_user` decides.
    """
    _require_may_create(new, actor)
    found = conflict(new.email, actor)
    if found.user_id:
        raise found


def _require_may_create(new: NewUser, actor: Actor) -> None:
    actor.require(Permission.USERS_CREATE)
    if new.global_role_id:
        actor.require(Permission.ROLES_ASSIGN, *new.global_role_id.permissions)  # nobody grants what they do not hold


def is_taken(error: IntegrityError) -> bool:
    """Tell whether it is that another user has the email."""
    return driver_errors.is_violation(error, "uq_users_email_key", "users.email_key")


def conflict(email: Email, actor: Actor) -> Conflict:
    """Return the error that tells `actor` as much as they may know about who has this email."""
    with database.reading() as session:
        user_id = session.scalar(select(User.id).where(User.email_key == email.key, User.deleted_at.is_(None)))
    return Conflict(user_id=user_id, show_user_id=Permission.USERS_READ in actor.permissions)


def get_user(user_id: str) -> User:
    """Return the user with this id, who is not deleted, or raise UserNotFound."""
    # By form first: Postgres takes no NUL, which a path can hold, in a text.
    if not ids.is_user_id(user_id):
        raise UserNotFound
    return _found(_BY_ID, id=user_id)


def get_user_by_email(email_key: str) -> User:
    """Return the user with this key of an email (`emails.lookup_key`), who is not deleted, or raise UserNotFound."""
    return _found(_BY_EMAIL, email_key=email_key)


def get_users(user_ids: Sequence[str]) -> Sequence[User]:
    """Return those of these users who are there and not deleted, each once, in the order of `user_ids`."""
    wanted = dict.fromkeys(filter(ids.is_user_id, user_ids))
    with database.reading() as session:
        found = session.scalars(select(User).where(User.id.in_(wanted), User.deleted_at.is_(None))).all()
    by_id = {user.id: user for user in found}
    return [by_id[user_id] for user_id in wanted if user_id in by_id]


def list_users(*, after: str = "", skip: int = 0, limit: int = 100, active_only: bool = False) -> Sequence[User]:
    """Return at most `limit` users who are not deleted, oldest first, those made after the id `after` but `skip`."""
    # By what an index knows, where it is about few: the others may be nearly all.
    wanted = User.status == Status.ACTIVE if active_only else User.deleted_at.is_(None)
    return _listed(wanted, after, skip, limit)


def list_deleted_users(*, after: str = "", skip: int = 0, limit: int = 100) -> Sequence[User]:
    """Return at most `limit` users who are deleted, oldest first, those made after the id `after` but `skip`."""
    return _listed(User.status == Status.DELETED, after, skip, limit)


def _listed(wanted: ColumnElement[bool], after: str, skip: int, limit: int) -> Sequence[User]:
    query = select(User).where(wanted, User.id > after).order_by(User.id).offset(skip).limit(limit)
    with database.reading() as session:
        return session.scalars(query).all()


def count_active_administrators() -> int:
    """Return how many active users hold role_admin."""
    with database.reading() as session:
        return len(session.scalars(active_administrators()).all())


def has_administrator(session: Session) -> bool:
    """Tell, inside a transaction, whether an active user holds role_admin."""
    return session.scalar(active_administrators().limit(1)) is not None


def _found(statement: Select[User], **values: str) -> User:
    with database.reading() as session:
        user = session.scalar(statement, values)
    if user is None:
        raise UserNotFound
    return user


def active_administrators() -> Select[str]:
    """Return the query for the ids of the active users who hold role_admin.

    A user with a role that is not known counts as none: to this version they hold nothing, and could help nobody.
    """
    return select(User.id).where(User.global_role_id == Role.ADMIN, User.is_active, User.deleted_at.is_(None))
