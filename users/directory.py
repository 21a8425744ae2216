"""What the pages read: users newest first, and the names behind ids."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import func, select

from users import database
from users.models import ApiKey, User

PAGE_SIZE = 25


@dataclass(frozen=True)
class Page:
    """Some users, newest first, and the ids from which the pages beside this one start, if there are such."""

    users: list[User]
    newer: str | None  # users made after this id come before
    older: str | None  # users made before this id come next


def newest(*, before: str | None = None, after: str | None = None, limit: int = PAGE_SIZE) -> Page:
    """Return a page of the users who are not deleted: the newest, or those next to the id `before` or `after`."""
    query = select(User).where(User.deleted_at.is_(None)).limit(limit + 1)
    if after:
        query = query.where(User.id > after).order_by(User.id)
    else:
        query = query.order_by(User.id.desc())
        query = query.where(User.id < before) if before else query
    with database.reading() as session:
        found = list(session.scalars(query).all())
    more = len(found) > limit  # one was asked for beyond the page, to know
    users = found[:limit]
    if after:
        users.reverse()
        return Page(users, newer=users[0].id if more else None, older=users[-1].id if users else None)
    newer = users[0].id if users and before else None
    return Page(users, newer=newer, older=users[-1].id if more else None)


def count() -> int:
    """Return how many users are not deleted."""
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(User).where(User.deleted_at.is_(None))) or 0


def emails_of(user_ids: Iterable[str | None]) -> Mapping[str, str]:
    """Return the addresses of these users, the deleted ones too, by id."""
    wanted = {user_id for user_id in user_ids if user_id}
    with database.reading() as session:
        found = session.execute(select(User.id, User.email).where(User.id.in_(wanted))).all()
    return {row.id: row.email for row in found}


def stopped_among(user_ids: Iterable[str]) -> frozenset[str]:
    """Return those of these users who are deactivated or deleted, and whose API keys stand still."""
    stopped = select(User.id).where(User.id.in_(set(user_ids)), ~User.is_active | User.deleted_at.is_not(None))
    with database.reading() as session:
        return frozenset(session.scalars(stopped).all())


def key_names_of(key_ids: Iterable[str | None]) -> Mapping[str, str]:
    """Return the names of these API keys, by id."""
    wanted = {key_id for key_id in key_ids if key_id}
    with database.reading() as session:
        found = session.execute(select(ApiKey.id, ApiKey.name).where(ApiKey.id.in_(wanted))).all()
    return {row.id: row.name for row in found}
