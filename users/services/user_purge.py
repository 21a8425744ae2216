"""The purge of deleted users, which the law asks for: all about them is erased but their ids in the audit trail."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session

from users import clock
from users.actors import Actor
from users.audit import trail
from users.audit.trail import Action
from users.auth import known_networks
from users.roles import Permission
from users.services import idempotency
from users.storage import database
from users.storage.models import AdminSession, ApiKey, AuditEvent, IdempotencyRecord, Status, User, segments

# In one transaction, so that no other writer waits long.
USER_BATCH_SIZE = 100
EVENT_BATCH_SIZE = 1000
COPY_BATCH_SIZE = 1000  # users of a copy in one query


def count(before: datetime) -> int:
    """Return how many users were deleted before this moment."""
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(User).where(*_deleted_before(before))) or 0


def purge_users(before: datetime, *, actor: Actor) -> int:
    """Erase the users who were deleted before this moment, and return how many there were.

    This also erases their API keys, sessions, known networks, kept answers, and the IP addresses of their acts. Each
    user leaves an audit row, in the transaction of the erasure: a purge that is killed has recorded all that it erased,
    and the next purge continues. Raises Denied.
    """
    actor.require(Permission.USERS_DELETE)
    erased, last = 0, ""
    while found := _deleted(before, last):
        for user_id in found:
            _erase_ip_addresses(user_id)
        erased += _erase(found, before, actor)
        last = found[-1]
    return erased


def _deleted(before: datetime, after: str) -> Sequence[str]:
    deleted = select(User.id).where(*_deleted_before(before), User.id > after).order_by(User.id)
    with database.reading() as session:
        return session.scalars(deleted.limit(USER_BATCH_SIZE)).all()


def _deleted_before(before: datetime) -> tuple[ColumnElement[bool], ...]:
    """Return the SQL conditions for users deleted before this moment. The segment has an index."""
    return User.segment.in_(segments([Status.DELETED])), User.deleted_at < before


def _erase(user_ids: Sequence[str], before: datetime, actor: Actor) -> int:
    """Erase those of the users that were not erased, or restored, meanwhile; return how many."""
    with database.transaction() as session:
        deleted = select(User).where(User.id.in_(user_ids), User.deleted_at < before).order_by(User.id)
        users = session.scalars(deleted.with_for_update()).all()
        theirs = [user.id for user in users]
        session.execute(delete(AdminSession).where(AdminSession.user_id.in_(theirs)))
        known_networks.forget(session, theirs)
        session.execute(delete(ApiKey).where(ApiKey.owner_id.in_(theirs)))
        for kept in _kept_answers_of(session, users):
            session.delete(kept)
        session.execute(delete(User).where(User.id.in_(theirs)))
        for user_id in theirs:
            trail.record(session, Action.USER_PURGE, user_id, actor, clock.now(), [])
    return len(theirs)


def _kept_answers_of(session: Session, users: Sequence[User]) -> list[IdempotencyRecord]:
    """Return the kept answers that show these users. The time of the act that created them has an index."""
    user_ids = {user.id for user in users}
    creations = select(AuditEvent.at).where(AuditEvent.target_id.in_(user_ids), AuditEvent.action == Action.USER_CREATE)
    moments = {*session.scalars(creations), *(user.created_at for user in users)}
    kept = session.scalars(select(IdempotencyRecord).where(IdempotencyRecord.created_at.in_(moments)))
    return [one for one in kept if idempotency.shows(one.answer, user_ids)]


def _erase_ip_addresses(user_id: str) -> None:
    """Erase the IP address from the user's own events and from events about the user without a known actor.

    Those are failed sign-ins, uses of a link that verifies the email or sets a password, and the set-up, most likely by
    the user. A deleted user cannot act, so no such event is added later.
    """
    unknown = AuditEvent.actor_user_id.is_(None) & AuditEvent.actor_key_id.is_(None)
    for theirs in (AuditEvent.actor_user_id == user_id, (AuditEvent.target_id == user_id) & unknown):
        last = ""
        while found := _erase_some(theirs, last):
            last = found[-1]


def _erase_some(theirs: ColumnElement[bool], after: str) -> Sequence[str]:
    """Erase the IP address from the next events after this id; return their ids."""
    known = select(AuditEvent.id).where(theirs, AuditEvent.id > after, AuditEvent.address.is_not(None))
    with database.transaction() as session:
        # Locked in order, as `audit_prune` does: no deadlock between the two.
        some = known.order_by(AuditEvent.id).limit(EVENT_BATCH_SIZE).with_for_update()
        found = session.scalars(some).all()
        if found:
            session.execute(update(AuditEvent).where(AuditEvent.id.in_(found)).values(address=None))
    return found


def copies_with_erased() -> list[Path]:
    """Return the copies of a SQLite database, made before upgrades, that still hold erased users."""
    path = database.sqlite_file()
    copies = path.parent.glob(f"{path.name}.before-*") if path else ()
    return [copy for copy in sorted(copies) if _holds_erased(copy)]


def _holds_erased(copy: Path) -> bool:
    """Tell whether the copy holds a user who is not in the database; true if it cannot be read."""
    try:
        with closing(sqlite3.connect(f"{copy.absolute().as_uri()}?immutable=1", uri=True)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'users'").fetchone():
                return False
            held = connection.execute("SELECT id FROM users")
            return any(_is_any_erased([user_id for (user_id,) in some]) for some in _batches(held))
    except sqlite3.Error:
        return True


def _batches(cursor: sqlite3.Cursor) -> Iterator[list[Any]]:
    while some := cursor.fetchmany(COPY_BATCH_SIZE):
        yield some


def _is_any_erased(user_ids: Sequence[str]) -> bool:
    with database.reading() as session:
        return len(session.scalars(select(User.id).where(User.id.in_(user_ids))).all()) < len(user_ids)
