"""Sessions of the pages as rows, so that one can be ended everywhere at once (OWASP, Session Management)."""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from users import clock, logs
from users.errors import Unavailable
from users.roles import Permission, permissions_of
from users.storage import database
from users.storage.models import AdminSession, User

IDLE = timedelta(minutes=30)
ABSOLUTE = timedelta(hours=12)
SEEN_EVERY = timedelta(minutes=1)


def may_sign_in(user: Any) -> bool:
    """Tell whether `user`, a User or a row, may use the pages, if only their own account: every active user may."""
    return bool(user.is_active and user.deleted_at is None)


def start(session: Session, user_id: str, now: datetime) -> str:
    """Add a session of the user and return its id, which only the cookie holds."""
    session_id = secrets.token_urlsafe(32)
    session.add(AdminSession(id_hash=digest(session_id), user_id=user_id, created_at=now, last_seen_at=now))
    return session_id


def find(session_id: str) -> User | None:
    """Return the user of this session, or None if it has ended or expired or the user may not sign in now."""
    now = clock.now()
    found = select(AdminSession, User).join(User, AdminSession.user_id == User.id)
    with database.reading() as session:
        row = session.execute(found.where(AdminSession.id_hash == digest(session_id))).one_or_none()
    if row is None:
        return None
    admin_session, user = row
    if now - admin_session.created_at >= ABSOLUTE or now - admin_session.last_seen_at >= IDLE or not may_sign_in(user):
        return None
    if now - admin_session.last_seen_at >= SEEN_EVERY:
        _note_seen(admin_session, now)
    return user


def permissions(user: Any) -> frozenset[Permission]:
    """Return what `user`, a User or a row, may do at the pages: nothing before they have chosen a new password."""
    return frozenset() if user.password_change_required else permissions_of(user.global_role_id)


def find_permissions(transaction: Session | Connection, id_hash: bytes) -> frozenset[Permission] | None:
    """Return the permissions of the user whose session has this hash, or None where `find` returns None."""
    theirs = select(User.global_role_id, User.password_change_required)
    alive = (AdminSession.id_hash == id_hash, ~is_expired(clock.now()), User.is_active, User.deleted_at.is_(None))
    row = transaction.execute(theirs.join(AdminSession, AdminSession.user_id == User.id).where(*alive)).first()
    return None if row is None else permissions(row)


def count_others(user_id: str, session_id: str) -> int:
    """Return how many other sessions the user has."""
    others = (AdminSession.user_id == user_id, AdminSession.id_hash != digest(session_id))
    with database.reading() as session:
        count = select(func.count()).select_from(AdminSession).where(*others, ~is_expired(clock.now()))
        return session.scalar(count) or 0


def end(session: Session, session_id: str) -> bool:
    """End this session in every process; tell whether there was one."""
    return _deleted(session.execute(delete(AdminSession).where(AdminSession.id_hash == digest(session_id))))


def end_all(session: Session, user_id: str, *, but: str = "") -> bool:
    """End all sessions of the user except the one with the id `but`; tell whether there were any."""
    theirs = delete(AdminSession).where(AdminSession.user_id == user_id)
    return _deleted(session.execute(theirs.where(AdminSession.id_hash != digest(but))))


def is_expired(now: datetime) -> ColumnElement[bool]:
    """Return the SQL condition for sessions that are too old or idle."""
    return (AdminSession.created_at <= now - ABSOLUTE) | (AdminSession.last_seen_at <= now - IDLE)


def _deleted(result: Any) -> bool:
    return isinstance(result, CursorResult) and result.rowcount > 0


def digest(session_id: str) -> bytes:
    """Return the hash of a session's id, which the table holds."""
    # "replace": a cookie may hold anything, an id is ASCII.
    return hashlib.sha256(session_id.encode("ascii", "replace")).digest()


def _note_seen(admin_session: AdminSession, now: datetime) -> None:
    """Write `last_seen_at`. If the database cannot write now, the request goes on."""
    unseen = (AdminSession.id_hash == admin_session.id_hash, AdminSession.last_seen_at <= now - SEEN_EVERY)
    try:
        with database.transaction(wait=False) as session:
            session.execute(update(AdminSession).where(*unseen).values(last_seen_at=now))
    except Unavailable:
        logs.event("last_seen_skipped", user_id=admin_session.user_id)
