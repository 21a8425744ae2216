"""Users read by id, by email or as a list, and the active administrators. For lists with filters see `lists`."""

import contextlib
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Select, bindparam, select
from sqlalchemy.orm import Session

from users import ids
from users.errors import UserNotFound
from users.roles import Role
from users.rules import emails, search_keys
from users.rules.emails import Email
from users.services.lists import exact
from users.services.lists.asked import Asked, Sort
from users.storage import database
from users.storage.models import Status, User, segments

ALL, ACTIVE, DELETED = (Asked(shown=shown, sort=Sort.OLDEST) for shown in ("all", "active", "deleted"))
SAME_EMAIL = 5  # users of one email who are found by it: the present one and deleted ones
# Made once: to build a statement takes longer than to run it.
_BY_ID = select(User).where(User.id == bindparam("id"), User.deleted_at.is_(None))
_FOUND = 10
_BY_EMAIL = select(User).where(User.email_key == bindparam("email_key"), User.deleted_at.is_(None))


def get_user(user_id: str) -> User:
    """Return the user with this id, who is not deleted, or raise UserNotFound."""
    # A path can hold NUL, which Postgres refuses in a text.
    if not ids.is_user_id(user_id):
        raise UserNotFound
    return _found(_BY_ID, id=user_id)


def password_make(user_id: str) -> str | None:
    """Return the make of the user's hash, None if it is one of our own or there is no such user."""
    found = database.find(select(User.password_make).where(User.id == user_id))
    return found.password_make if found else None


def get_user_even_deleted(user_id: str) -> User:
    """Return the user with this id, also if it is deleted, or raise UserNotFound."""
    with database.reading() as session:
        user = session.get(User, user_id) if ids.is_user_id(user_id) else None
    if user is None:
        raise UserNotFound
    return user


def get_user_by_email(email: str) -> User:
    """Return the user who has this email, or another spelling of it, and is not deleted, or raise UserNotFound."""
    for possible in emails.possible_emails(email):
        with contextlib.suppress(UserNotFound):
            return _found(_BY_EMAIL, email_key=possible.key)
    raise UserNotFound


def find_holder(email_key: str) -> User | None:
    """Return the user who has the email with this key and is not deleted, None if it is free."""
    with database.reading() as session:
        return session.scalars(_BY_EMAIL, {"email_key": email_key}).first()


def find_deleted_by_email(email: str) -> Sequence[User]:
    """Return the deleted users who had this email, or another spelling of it, the newest 10 at most."""
    found = {user.id: user for possible in emails.possible_emails(email) for user in _deleted_with(possible)}
    return list(found.values())[:_FOUND]


def _deleted_with(email: Email) -> Sequence[User]:
    # The search key has an index, the other key among users who are not deleted alone.
    is_deleted = User.segment.in_(segments([Status.DELETED]))
    had = (is_deleted, User.search_email == search_keys.of_email(email.text), User.email_key == email.key)
    # By the id itself, SQLite would read all deleted users from the newest on, until it has found enough.
    newest_first = User.id.concat("").desc()
    with database.reading() as session:
        return session.scalars(select(User).where(*had).order_by(newest_first).limit(_FOUND)).all()


def ids_of_email(email: str) -> Sequence[str]:
    """Return the ids of the user who has this email and of the deleted users who had it, at most SAME_EMAIL.

    The present user comes first, then the deleted ones, newest first.
    """
    present = []
    with contextlib.suppress(UserNotFound):
        present = [get_user_by_email(email).id]
    return [*present, *(user.id for user in find_deleted_by_email(email))][:SAME_EMAIL]


def get_users(user_ids: Sequence[str]) -> Sequence[User]:
    """Return those of these users who exist and are not deleted, each once, in the order of `user_ids`."""
    wanted = dict.fromkeys(filter(ids.is_user_id, user_ids))
    with database.reading() as session:
        found = session.scalars(select(User).where(User.id.in_(wanted), User.deleted_at.is_(None))).all()
    by_id = {user.id: user for user in found}
    return [by_id[user_id] for user_id in wanted if user_id in by_id]


def list_users(asked: Asked = ALL, *, after: str = "", skip: int = 0, limit: int = 100) -> Sequence[User]:
    """Return up to `limit` users, oldest first: after the id `after`, without the first `skip`.

    `asked` has their status, role and so on; without it, they are those who are not deleted.
    """
    with database.reading() as session:
        if asked != ALL:
            return exact.oldest(session, asked, after, skip, limit)
        query = select(User).where(User.deleted_at.is_(None), User.id > after).order_by(User.id)
        return session.scalars(query.offset(skip).limit(limit)).all()


def list_deleted_users(*, after: str = "", skip: int = 0, limit: int = 100) -> Sequence[User]:
    """Return up to `limit` deleted users, oldest first: after the id `after`, without the first `skip`."""
    return list_users(DELETED, after=after, skip=skip, limit=limit)


def emails_of(user_ids: Iterable[str | None]) -> Mapping[str, str]:
    """Return the emails of these users by id, also of deleted users."""
    wanted = {user_id for user_id in user_ids if user_id}
    with database.reading() as session:
        found = session.execute(select(User.id, User.email).where(User.id.in_(wanted))).all()
    return {row.id: row.email for row in found}


def inactive_among(user_ids: Iterable[str | None]) -> frozenset[str]:
    """Return the ids of those of these users who are deactivated or deleted."""
    wanted = {user_id for user_id in user_ids if user_id}
    inactive = select(User.id).where(User.id.in_(wanted), ~User.is_active | User.deleted_at.is_not(None))
    with database.reading() as session:
        return frozenset(session.scalars(inactive).all())


def count_active_administrators() -> int:
    """Return how many active users hold role_admin."""
    with database.reading() as session:
        return len(session.scalars(active_administrators()).all())


def has_administrator(session: Session) -> bool:
    """Tell, inside a transaction, whether an active user holds role_admin."""
    return session.scalar(active_administrators().limit(1)) is not None


def active_administrators() -> Select[str]:
    """Return the query for the ids of the active users who hold role_admin.

    A user with a role that this version does not know is no administrator: such a role gives no permission.
    """
    return select(User.id).where(User.global_role_id == Role.ADMIN, User.is_active, User.deleted_at.is_(None))


def _found(statement: Select[User], **values: str) -> User:
    with database.reading() as session:
        user = session.scalar(statement, values)
    if user is None:
        raise UserNotFound
    return user
