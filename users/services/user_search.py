"""The search of the users page: users newest first, of one status or found by a text, and how many they are.

A page costs the same however many users there are and whatever the text is: always the same few queries, each of which
reads a bounded number of entries of an index.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Select, bindparam, func, literal, select, union_all
from sqlalchemy.orm import InstrumentedAttribute, Session

from users.rules import search_keys
from users.storage import database
from users.storage.lists import paging
from users.storage.lists.paging import COUNTED, Count, Page
from users.storage.models import Status, User, segments, status_of

FOUND = 300  # of each status, for a search: each match costs a read of its own in the table
SHOWN = {
    "all": (Status.ACTIVE, Status.DEACTIVATED),
    "active": (Status.ACTIVE,),
    "deactivated": (Status.DEACTIVATED,),
    "deleted": (Status.DELETED,),
}


def find(
    text: str = "",
    shown: str = "all",
    *,
    before: str | None = None,
    after: str | None = None,
    limit: int = paging.PAGE_SIZE,
) -> tuple[Page[User], Mapping[str, Count]]:
    """Return a page of the users that `text` finds and `shown` names, and the counts for each of SHOWN.

    It is the newest page, or the one next to the id `before` or `after`.

    `text` is a whole id or the beginning of an email, a domain, a name or a last name; an empty text finds all users.
    If it matches too many, the page has only some of them, and the count says so.
    """
    search_key = search_keys.query_key(text)
    with database.reading() as session:
        if search_key:
            found, counts = _found(session, search_key)
            found_ids = [user_id for status in SHOWN[shown] for user_id in found[status]]
        else:
            counts = _counts(session)
            found_ids = _next_to(session, SHOWN[shown], before, after, limit + 1)
        found_ids = _nearest(found_ids, before, after)  # one more than the page has, to know whether there are more
        query = select(User).where(User.id.in_(found_ids[:limit])).order_by(User.id.desc())
        users = list(session.scalars(query).all())
    more = len(found_ids) > limit
    newer = users[0].id if users and (more if after else before) else None
    older = users[-1].id if users and (after or more) else None
    return Page(users, newer, older), {name: _sum(counts[status] for status in SHOWN[name]) for name in SHOWN}


def _sum(counts: Iterable[Count]) -> Count:
    counts = list(counts)
    return Count(sum(count.number for count in counts), any(count.many for count in counts))


def _counts(session: Session) -> dict[Status, Count]:
    """Return how many users of each status there are, counted up to COUNTED, in one query."""
    some = [
        select(User.id).where(User.segment.in_(segments([status]))).limit(COUNTED + 1).subquery() for status in Status
    ]
    row = session.execute(select(*[select(func.count()).select_from(one).scalar_subquery() for one in some])).one()
    return {status: Count(number, number > COUNTED) for status, number in zip(Status, row, strict=True)}


def _next_to(
    session: Session, statuses: Iterable[Status], before: str | None, after: str | None, limit: int
) -> list[str]:
    """Return up to `limit` ids of each status next to the given id, or the highest ids if none is given."""
    query = select(User.id).order_by(User.id if after else User.id.desc()).limit(limit)
    if after or before:
        query = query.where(User.id > after if after else User.id < before)
    each = [select(query.where(User.segment == one).subquery()) for one in segments(statuses)]
    return list(session.scalars(union_all(*each)).all())


def _nearest(user_ids: Iterable[str], before: str | None, after: str | None) -> list[str]:
    """Return the ids after `after` or before `before`, the nearest first."""
    if after:
        return sorted(user_id for user_id in user_ids if user_id > after)
    return sorted((user_id for user_id in user_ids if not before or user_id < before), reverse=True)


def _found(session: Session, search_key: str) -> tuple[dict[Status, set[str]], dict[Status, Count]]:
    """Return the ids of the users that `search_key` finds, by status, and how many they are."""
    rows: dict[int, list[str]] = {status: [] for status in Status}
    for status, user_id in session.execute(_MATCHES, {"key": search_key, "above": search_keys.upper_bound(search_key)}):
        rows[status].append(user_id)
    found = {status: set(rows[status]) for status in Status}
    return found, {status: Count(len(found[status]), len(rows[status]) > FOUND) for status in Status}


def _beginning_with_key(segment: int, column: InstrumentedAttribute[str | None]) -> Select[int, str]:
    """Return the first users by this column. The order makes the database read the index, and no more of it."""
    status = literal(int(status_of(segment)))
    found = select(status.label("status"), User.id).where(
        User.segment == segment, column >= bindparam("key"), column < bindparam("above")
    )
    return _some(found.order_by(column))


def _matches(status: Status) -> Select[int, str]:
    columns = (User.search_email, User.search_domain, User.search_name, User.search_last_name)
    by_id = [
        select(literal(int(status)).label("status"), User.id).where(User.segment == one, User.id == bindparam("key"))
        for one in segments([status])
    ]
    return _some(
        union_all(*by_id, *[_beginning_with_key(one, column) for one in segments([status]) for column in columns])
    )


def _some(query: Any) -> Select[Any]:
    """Return the first rows of `query` for a union: one more than FOUND, to know whether there are more."""
    return select(query.limit(FOUND + 1).subquery())


# Each status has its own limit, so that many users of one do not hide those of another. A user may be found twice.
_MATCHES = union_all(*map(_matches, Status))
