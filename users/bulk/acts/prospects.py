"""What an act on many users is about to do, for the question before it: how many it touches, and whom it cannot.

Nothing is locked or written, so it says what would be done now. The act itself asks the rules of the single act again.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from users.actors import Actor
from users.bulk.acts.kinds import YOURSELF, Act, Fate, Wanted, may_be_touched
from users.errors import Conflict, Denied, LastAdministrator, UserDeactivated, UserNotFound
from users.services import user_queries
from users.storage import database
from users.storage.models import BulkAct, BulkActUser, User

NAMED = 10  # users of each fate who are named
_AT_ONCE = 1_000
_READ = select(User.id, User.email, User.email_key, User.global_role_id, User.is_active, User.deleted_at)


@dataclass(frozen=True)
class Untouched:
    """The users who would be left as they are, for one reason."""

    fate: str
    number: int
    named: Sequence[tuple[str, str]]  # the id and the email of the first of them


@dataclass(frozen=True)
class Prospect:
    """What the act would do now."""

    touched: int
    untouched: Sequence[Untouched]  # the largest first


def foresee(job: BulkAct, actor: Actor) -> Prospect:
    """Return what the act would do now, if `actor` did it."""
    wanted = Wanted.from_job(job.act, job.options)
    fates: dict[str, list[tuple[str, str]]] = {}
    numbers: dict[str, int] = {}
    with database.reading() as session:
        for user_id, email, fate in _fates(session, job, wanted, actor):
            numbers[fate] = numbers.get(fate, 0) + 1
            if fate != Fate.DONE and email and len(fates.setdefault(fate, [])) < NAMED:
                fates[fate].append((user_id, email))
    touched = numbers.pop(Fate.DONE, 0)
    most_first = sorted(numbers, key=lambda fate: -numbers[fate])
    return Prospect(touched, [Untouched(fate, numbers[fate], fates.get(fate, [])) for fate in most_first])


def _fates(session: Session, job: BulkAct, wanted: Wanted, actor: Actor) -> Iterator[tuple[str, str | None, str]]:
    """Yield each user's id, email (None if there is no such user any more) and fate, in the order of the act."""
    chosen = select(BulkActUser.user_id).where(BulkActUser.act_id == job.id).order_by(BulkActUser.position)
    left = set(session.scalars(user_queries.active_administrators())) if wanted.ends_administration else set()
    for user_ids in _some(session.scalars(chosen).all()):
        users = {row.id: row for row in session.execute(_READ.where(User.id.in_(user_ids)))}
        taken = _taken(session, [row.email_key for row in users.values()]) if wanted.act is Act.RESTORE else set()
        for user_id in user_ids:
            user = users.get(user_id)
            fate = _fate(wanted, user, actor, taken)
            if fate == Fate.DONE and left == {user_id}:
                fate = LastAdministrator.code
            elif fate == Fate.DONE:
                left.discard(user_id)
            yield user_id, user.email if user else None, fate


def _some(user_ids: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(user_ids)
    while some := list(islice(rest, _AT_ONCE)):
        yield some


def _taken(session: Session, email_keys: Sequence[str]) -> set[str]:
    """Return those of these emails that a user has who is not deleted."""
    has = select(User.email_key).where(User.email_key.in_(email_keys), User.deleted_at.is_(None))
    return set(session.scalars(has))


def _fate(wanted: Wanted, user: Any, actor: Actor, taken: set[str]) -> str:
    """Return the fate of one user, None if there is none. The last administrator is told by the caller."""
    is_deleted = user is None or user.deleted_at is not None
    if user is not None and user.id == actor.user_id:
        return YOURSELF
    if user is None or (is_deleted and wanted.act is not Act.RESTORE):
        return Fate.UNCHANGED if wanted.act is Act.DELETE else UserNotFound.code
    if not may_be_touched(user.global_role_id, actor):
        return Denied.code
    if wanted.act is Act.LINKS:
        return Fate.DONE if user.is_active else UserDeactivated.code
    if wanted.act is Act.RESTORE and is_deleted and user.email_key in taken:
        return Conflict.code
    return Fate.UNCHANGED if _is_so(wanted, user) else Fate.DONE


def _is_so(wanted: Wanted, user: Any) -> bool:
    """Tell whether the user is already as the act would make them."""
    is_so = {
        Act.DEACTIVATE: not user.is_active,
        Act.REACTIVATE: user.is_active,
        Act.RESTORE: user.deleted_at is None,
        Act.ROLE: user.global_role_id == wanted.role,
    }
    return bool(is_so.get(wanted.act, False))
