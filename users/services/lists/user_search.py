"""A page of a list of users: filtered, sorted, found by a text, and how many they are.

A page costs the same however many users there are and whatever is asked for: always the same few queries, each of
which reads a bounded number of entries of an index.
"""

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from users.services.lists import bounded, exact
from users.services.lists.asked import SHOWN, Asked, Sort
from users.storage import database
from users.storage.lists.paging import Count, Page
from users.storage.models import Status, User

PAGE_SIZE = 50


@dataclass(frozen=True)
class Found:
    """A page of a list."""

    page: Page[User]  # in the order asked for; `newer` and `older` lead to the page before and after
    counts: Mapping[str, Count | None]  # of each of SHOWN; None where nothing was found among what was read
    first: int | None  # the rank of the first row, from 1; None where it is not known
    is_partial: bool  # there are more entries than the list read: there may be more users, or some where it has none


def find(asked: Asked, *, before: str | None = None, after: str | None = None, limit: int = PAGE_SIZE) -> Found:
    """Return a page: the first, the one that begins after the user `before`, or the one that ends before `after`.

    A list that is sorted by email or by name begins anew if that user is gone.
    """
    with database.reading() as session:
        if asked.is_exact:
            return _exact(session, asked, before, after, limit)
        return _bounded(session, asked, before, after, limit)


def find_oldest(asked: Asked, *, after: str = "", skip: int = 0, limit: int) -> Sequence[User]:
    """Return up to `limit` users whom a text finds, oldest first: after the id `after`, without the first `skip`.

    They are those among the entries that a bounded list reads.
    """
    with database.reading() as session:
        entries = bounded.read(session, asked, counting=False)
        found = [user_id for user_id in entries.ordered if user_id > after]
        return users_of(session, found[skip : skip + limit])


def find_ids(asked: Asked, *, limit: int) -> tuple[Sequence[str], bool]:
    """Return up to `limit` ids of all users of a list, and whether it read only some entries: there may be more then.

    So many at once are for an act on all of them, so the order is of no matter.
    """
    by_age = replace(asked, sort=Sort.OLDEST)
    with database.reading() as session:
        if by_age.is_exact:
            return exact.first_ids(session, by_age, limit), False
        entries = bounded.read(session, asked, counting=False)  # of the same entries as the list, whose order it has
    return entries.ordered[:limit], entries.is_partial


def _exact(session: Session, asked: Asked, before: str | None, after: str | None, limit: int) -> Found:
    counts, place_key = exact.counts(session, asked, after or before)
    given = after or before
    place = (given, given) if given and asked.sort.key == "id" else None
    if given and place_key:
        place = (given, place_key)
    back = bool(after and place)
    found = exact.page(session, asked, SHOWN[asked.shown], place, back=back, limit=limit + 1)
    more, rows = len(found) > limit, list(found[:limit])
    if back:
        rows.reverse()
    newer = rows[0].id if rows and (more if back else place) else None
    older = rows[-1].id if rows and (back or more) else None
    return Found(Page(rows, newer, older), _by_name(counts), None if newer or not rows else 1, is_partial=False)


def _bounded(session: Session, asked: Asked, before: str | None, after: str | None, limit: int) -> Found:
    entries = bounded.read(session, asked)
    start, end = _slice(entries.ordered, asked, before, after, limit)
    rows = users_of(session, entries.ordered[start:end])
    newer = rows[0].id if rows and start else None
    older = rows[-1].id if rows and end < len(entries.ordered) else None
    first = start + 1 if rows else None
    return Found(Page(rows, newer, older), _by_name(entries.counts), first, entries.is_partial)


def _slice(found: Sequence[str], asked: Asked, before: str | None, after: str | None, limit: int) -> tuple[int, int]:
    """Return where the page begins and ends among the ids that were found."""
    place = _place(found, asked, after or before or "") if after or before else None
    if place is None:
        return 0, limit
    at, is_there = place
    return (max(0, at - limit), at) if after else (at + is_there, at + is_there + limit)


def _place(found: Sequence[str], asked: Asked, user_id: str) -> tuple[int, bool] | None:
    """Return where this id is or, in a list by creation, would be, and whether it is there."""
    if user_id in found:
        return found.index(user_id), True
    if asked.sort.key != "id":
        return None
    at = bisect.bisect_left(sorted(found), user_id)
    return len(found) - at if asked.sort.is_down else at, False


def users_of(session: Session, user_ids: Sequence[str]) -> list[User]:
    """Return these users in this order."""
    by_id = {user.id: user for user in session.scalars(select(User).where(User.id.in_(user_ids)))}
    return [by_id[user_id] for user_id in user_ids if user_id in by_id]


def _by_name(counts: Mapping[Status, Count | None]) -> Mapping[str, Count | None]:
    return {name: _sum([counts[status] for status in statuses]) for name, statuses in SHOWN.items()}


def _sum(counts: Sequence[Count | None]) -> Count | None:
    known = [count for count in counts if count is not None]
    many = len(known) < len(counts) or any(count.many for count in known)
    number = sum(count.number for count in known)
    return None if many and not number else Count(number, many)
