"""Erasing for good the users who were deleted: what the law asks for. Only their ids stay, in the audit trail."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, select, update

from users import clock
from users.actors import Actor
from users.audit import trail
from users.audit.trail import Action
from users.auth import known_networks
from users.roles import Permission
from users.storage import database
from users.storage.models import AdminSession, ApiKey, AuditEvent, IdempotencyRecord, Status, User

# In one transaction, so that nobody waits long for it.
USERS_AT_ONCE = 100
ADDRESSES_AT_ONCE = 1000
LOOKED_UP_AT_ONCE = 1000  # users of a copy


def count(before: datetime) -> int:
    """Return how many users were deleted before this moment."""
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(User).where(*_long_gone(before))) or 0


def purge_users(before: datetime, *, actor: Actor) -> int:
    """Erase the users who were deleted before this moment, and return how many there were.

    With each go their API keys, sessions, known networks and kept answers, and the addresses that they acted from.
    Each leaves an audit row, in the transaction that erases them: a purge that is killed has erased nobody without a
    trace, and the next one goes on. Raises Denied.
    """
    actor.require(Permission.USERS_DELETE)
    erased, last = 0, ""
    while found := _deleted(before, last):
        for user_id in found:
            _forget_addresses(user_id)
        erased += _erase(found, actor)
        last = found[-1]
    return erased


def _deleted(before: datetime, after: str) -> Sequence[str]:
    deleted = select(User.id).where(*_long_gone(before), User.id > after).order_by(User.id)
    with database.reading() as session:
        return session.scalars(deleted.limit(USERS_AT_ONCE)).all()


def _long_gone(before: datetime) -> tuple[ColumnElement[bool], ...]:
    """Tell who was deleted before this moment. By the status too, whose index leaves out all who were not."""
    return User.status == Status.DELETED, User.deleted_at < before


def _erase(user_ids: Sequence[str], actor: Actor) -> int:
    """Erase those of the users whom no other purge has erased meanwhile; return how many."""
    with database.transaction() as session:
        deleted = select(User).where(User.id.in_(user_ids), User.deleted_at.is_not(None)).order_by(User.id)
        users = session.scalars(deleted.with_for_update()).all()
        theirs = [user.id for user in users]
        session.execute(delete(AdminSession).where(AdminSession.user_id.in_(theirs)))
        known_networks.forget(session, theirs)
        session.execute(delete(ApiKey).where(ApiKey.owner_id.in_(theirs)))
        session.execute(delete(IdempotencyRecord).where(_answers_about(users)))
        session.execute(delete(User).where(User.id.in_(theirs)))
        for user_id in theirs:
            trail.record(session, Action.USER_PURGE, user_id, actor, clock.now(), [])
    return len(theirs)


def _answers_about(users: Sequence[User]) -> ColumnElement[bool]:
    """Tell the answers that show these users: made at the same time as they, which an index finds."""
    shows = IdempotencyRecord.answer["id"].as_string().in_([user.id for user in users])
    return and_(IdempotencyRecord.created_at.in_([user.created_at for user in users]), shows)


def _forget_addresses(user_id: str) -> None:
    """Take the address from what the user did and from what nobody known did to the user, who it likely was.

    That is a sign-in that failed, a click on the verification link, the set-up. Nobody acts as a deleted user: what
    is not there now does not come any more.
    """
    unknown = AuditEvent.actor_user_id.is_(None) & AuditEvent.actor_key_id.is_(None)
    for theirs in (AuditEvent.actor_user_id == user_id, (AuditEvent.target_id == user_id) & unknown):
        last = ""
        while found := _forget_some(theirs, last):
            last = found[-1]


def _forget_some(theirs: ColumnElement[bool], after: str) -> Sequence[str]:
    """Do so for the next of `theirs` after this id; return which those were."""
    known = select(AuditEvent.id).where(theirs, AuditEvent.id > after, AuditEvent.address.is_not(None))
    with database.transaction() as session:
        # Locked in order, as a prune of the trail does: neither waits for the other in a circle.
        some = known.order_by(AuditEvent.id).limit(ADDRESSES_AT_ONCE).with_for_update()
        found = session.scalars(some).all()
        if found:
            session.execute(update(AuditEvent).where(AuditEvent.id.in_(found)).values(address=None))
    return found


def copies_with_erased() -> list[Path]:
    """Return the copies that upgrades made beside a SQLite database and that hold users who are erased by now."""
    path = database.sqlite_file()
    copies = path.parent.glob(f"{path.name}.before-*") if path else ()
    return [copy for copy in sorted(copies) if _holds_erased(copy)]


def _holds_erased(copy: Path) -> bool:
    """Tell whether the copy holds a user who is not in the database. One that cannot be read is said to."""
    try:
        with closing(sqlite3.connect(f"{copy.absolute().as_uri()}?immutable=1", uri=True)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'users'").fetchone():
                return False
            held = connection.execute("SELECT id FROM users")
            return any(_is_one_erased([user_id for (user_id,) in some]) for some in _pieces(held))
    except sqlite3.Error:
        return True


def _pieces(cursor: sqlite3.Cursor) -> Iterator[list[Any]]:
    while some := cursor.fetchmany(LOOKED_UP_AT_ONCE):
        yield some


def _is_one_erased(user_ids: Sequence[str]) -> bool:
    with database.reading() as session:
        return len(session.scalars(select(User.id).where(User.id.in_(user_ids))).all()) < len(user_ids)
