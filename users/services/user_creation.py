"""The creation of a user, for every door: one function, in one transaction with its audit row.

It needs an application context and no request. It raises Denied if `actor` may not create the user.
"""

from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from users import clock, ids
from users.actors import Actor
from users.audit import trail
from users.audit.trail import Action
from users.auth import authorization, hasher
from users.errors import Conflict
from users.roles import Permission, Role
from users.rules.emails import Email
from users.rules.validation import ADMIN_FIELDS, COLUMN_FIELDS, NewUser
from users.storage import database, driver_errors
from users.storage.models import User

_INSERT = insert(User.metadata.tables["users"])
_COLUMNS = [name for name in COLUMN_FIELDS if name in ADMIN_FIELDS]  # those that a new user can have


def create_user(
    new: NewUser,
    *,
    actor: Actor,
    link_lifetime: timedelta | None = None,
    before_insert: Callable[[Session, User], None] | None = None,
) -> User:
    """Create a user and return it once it is on disk.

    With `link_lifetime` the user gets a password link that ends so much later: `password_links` makes its token.
    `before_insert` runs inside the transaction, before the insert of the user: an error that it raises stops the act,
    and its own writes are committed with the user or not at all. Raises Denied, Conflict if another user has the email
    (the database's unique index decides), Unavailable, and the errors of `authorization.reauthorize`.
    """
    _require_may_create(new, actor)
    # Slow, so before the transaction and its lock.
    password_hash = hasher.hash_password(new.password, actor) if new.password else ""
    try:
        with database.writing() as connection:
            actor = authorization.reauthorize(connection, actor)
            _require_may_create(new, actor)
            user = _new_user(new, password_hash, link_lifetime)
            if before_insert:
                before_insert(database.session_on(connection), user)
            connection.execute(_INSERT, user.as_row())
            _record(connection, user, actor)
    except IntegrityError as error:
        if not is_taken(error):
            raise
        raise conflict(new.email, actor) from None
    return user


def _new_user(new: NewUser, password_hash: str, link_lifetime: timedelta | None) -> User:
    now = clock.now()
    return User(
        id=ids.new_id("usr"),
        email=new.email.text,
        email_key=new.email.key,
        password_hash=password_hash,
        password_link_ends_at=now + link_lifetime if link_lifetime else None,
        is_active=True,
        created_at=now,
        updated_at=now,
        **{name: getattr(new, name) for name in _COLUMNS},
    )


def _record(connection: Connection, user: User, actor: Actor) -> None:
    """Add the audit rows of a user's creation: one for the user and, with a link, one for the link."""
    fields = [name for name in ("email", *_COLUMNS) if getattr(user, name)]
    password = ["password"] if user.has_password else []
    trail.record(connection, Action.USER_CREATE, user.id, actor, user.created_at, [*fields, *password])
    if user.password_link_ends_at:
        trail.record(connection, Action.PASSWORD_LINK_CREATE, user.id, actor, user.created_at, [])


def check_new_user(new: NewUser, *, actor: Actor) -> None:
    """Raise Denied, Conflict or Unavailable if `create_user` would do so now, and write nothing.

    Another request may create the user before `create_user` runs: only that decides.
    """
    _require_may_create(new, actor)
    database.require_writable()
    found = conflict(new.email, actor)
    if found.user_id:
        raise found


def _require_may_create(new: NewUser, actor: Actor) -> None:
    actor.require(Permission.USERS_CREATE)
    if new.global_role_id:
        # No actor grants a permission that it does not hold.
        actor.require(Permission.ROLES_ASSIGN, *new.global_role_id.permissions)
        if new.global_role_id == Role.ADMIN:
            actor.require_confirmation()


def is_taken(error: IntegrityError) -> bool:
    """Tell whether the error says that another user has the email."""
    return driver_errors.is_violation(error, "uq_users_email_key", "users.email_key")


def conflict(email: Email, actor: Actor) -> Conflict:
    """Return the error for this email. It names the user who has the email only if `actor` may read users."""
    with database.reading() as session:
        user_id = session.scalar(select(User.id).where(User.email_key == email.key, User.deleted_at.is_(None)))
    return Conflict(user_id=user_id, show_user_id=Permission.USERS_READ in actor.permissions)
