"""Sessions of the pages as rows, so that one can be ended everywhere at once (OWASP, Session Management).

A sign-in goes through the stages of `Stage`. Only a complete one has permissions.
"""

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Connection, bindparam, delete, exists, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from users import clock, logs, settings
from users.errors import Unavailable
from users.form_errors import SessionEnded
from users.roles import Permission, permissions_of
from users.rules import ip_addresses
from users.storage import database
from users.storage.models import AdminSession, SecondFactor, User

IDLE = timedelta(minutes=30)
ABSOLUTE = timedelta(hours=12)
AWAITING = timedelta(minutes=10)  # for the second factor, after the right password
CONFIRMED = timedelta(minutes=10)  # how long a proof that it is the user is enough
SEEN_EVERY = timedelta(minutes=1)
MOST_PER_USER = 20
MOST_ANSWERS = 5  # in a row that are wrong

_Time = datetime | BindParameter[Any]

# Whether a user has a second factor that counts; for a statement that reads the user.
WITH_FACTOR = exists().where(SecondFactor.user_id == User.id, SecondFactor.active_since.is_not(None))
HAS_FACTOR = WITH_FACTOR.label("has_factor")
# Read for every page: columns of the session, since to make an AdminSession takes time.
_FOUND = (
    select(
        AdminSession.created_at,
        AdminSession.last_seen_at,
        AdminSession.awaits_factor,
        AdminSession.confirmed_at,
        User,
        HAS_FACTOR,
    )
    .join(User, AdminSession.user_id == User.id)
    .where(AdminSession.id_hash == bindparam("id_hash"))
)


class Stage(StrEnum):
    """How far a sign-in has come. A page opens in the stages that its guard names."""

    FACTOR = "factor"  # the password was right; the second factor is to follow
    NEW_PASSWORD = "new password"  # the user must choose a new password  # noqa: S105
    ENROLMENT = "enrolment"  # the user must add a second factor
    COMPLETE = "complete"


@dataclass(frozen=True)
class Place:
    """Where a user signs in: the IP address, the browser in words, and whether that is known for the user."""

    ip_address: str | None = None
    browser: str | None = None
    is_known: bool = False


@dataclass(frozen=True)
class CurrentSession:
    """A session that lives, and its user. Only the cookie holds `id`."""

    id: str = field(repr=False)
    user: User
    stage: Stage
    has_factor: bool
    confirmed_at: datetime | None

    @property
    def id_hash(self) -> bytes:
        """Return the hash of the id, which the table holds."""
        return digest(self.id)

    @property
    def permissions(self) -> frozenset[Permission]:
        """Return what the user may do at the pages."""
        return permissions_in(self.stage, self.user.global_role_id)

    @property
    def needs_confirmation(self) -> bool:
        """Tell whether the last proof that it is the user is too old for an act that asks for one."""
        if self.confirmed_at is None:
            return True
        age = clock.now() - self.confirmed_at
        return not -clock.MAY_DIFFER <= age < CONFIRMED  # else a clock that was set back would make it last


def may_sign_in(user: Any) -> bool:
    """Tell whether `user`, a User or a row, may use the pages, if only their own account: every active user may."""
    return bool(user.is_active and user.deleted_at is None)


def permissions_in(stage: Stage, role_id: str | None) -> frozenset[Permission]:
    """Return what a user with this role may do at this stage of a sign-in: nothing before it is complete."""
    return permissions_of(role_id) if stage is Stage.COMPLETE else frozenset()


def start(
    session: Session, user: User, now: datetime, place: Place, *, has_factor: bool, awaits_factor: bool
) -> CurrentSession:
    """Add a session of the user and return it. The oldest sessions beyond MOST_PER_USER end."""
    _end_oldest(session, user.id, now, place, awaits_factor=awaits_factor)
    session_id = secrets.token_urlsafe(32)
    session.add(
        AdminSession(
            id_hash=digest(session_id),
            user_id=user.id,
            created_at=now,
            last_seen_at=now,
            awaits_factor=awaits_factor,
            confirmed_at=now,
            failures=0,
            ip_address=place.ip_address,
            browser=place.browser,
            known_browser=place.is_known,
        )
    )
    return CurrentSession(session_id, user, _stage(user, awaits_factor, has_factor), has_factor, now)


def find(session_id: str) -> CurrentSession | None:
    """Return this session, or None if it has ended or expired or the user may not sign in now."""
    now, id_hash = clock.now(), digest(session_id)
    with database.reading() as session:
        found = session.execute(_FOUND, {"id_hash": id_hash}).one_or_none()
    if found is None or _has_expired(found, now) or not may_sign_in(found.User):
        return None
    if now - found.last_seen_at >= SEEN_EVERY:
        _note_seen(id_hash, found.User.id, now)
    stage = _stage(found.User, found.awaits_factor, found.has_factor)
    return CurrentSession(session_id, found.User, stage, found.has_factor, found.confirmed_at)


def find_permissions(transaction: Session | Connection, id_hash: bytes) -> frozenset[Permission] | None:
    """Return the permissions of the user whose session has this hash, or None where `find` returns None."""
    theirs = select(User.global_role_id, User.password_change_required, AdminSession.awaits_factor, HAS_FACTOR)
    alive = (AdminSession.id_hash == id_hash, ~is_expired(clock.now()), User.is_active, User.deleted_at.is_(None))
    row = transaction.execute(theirs.join(AdminSession, AdminSession.user_id == User.id).where(*alive)).first()
    if row is None:
        return None
    return permissions_in(_stage(row, row.awaits_factor, row.has_factor), row.global_role_id)


def renew(session: Session, current: CurrentSession, user: User, now: datetime, *, has_factor: bool) -> CurrentSession:
    """Give the session a new id after a right answer, and return it: it is confirmed, and awaits no factor.

    Raises SessionEnded if it has ended, or another request has renewed it.
    """
    session_id = secrets.token_urlsafe(32)
    values = {"id_hash": digest(session_id), "awaits_factor": False, "confirmed_at": now, "failures": 0}
    if current.stage is Stage.FACTOR:
        _end_oldest(session, user.id, now, Place(), awaits_factor=False)
    alive = update(AdminSession).where(AdminSession.id_hash == current.id_hash, ~is_expired(now))
    if not _changed(session.execute(alive.values(**values, challenge=None, challenge_made_at=None))):
        raise SessionEnded
    return CurrentSession(session_id, user, _stage(user, awaits_factor=False, has_factor=has_factor), has_factor, now)


def count_answer(session: Session, id_hash: bytes) -> int:
    """Count an answer in this session before its check, and return its number since the last right one.

    If answer number MOST_ANSWERS is wrong, the caller ends the session. Raises SessionEnded if the session has ended,
    or if so many answers are being checked.
    """
    open_ = (AdminSession.id_hash == id_hash, AdminSession.failures < MOST_ANSWERS)
    counted = update(AdminSession).where(*open_).values(failures=AdminSession.failures + 1)
    row = session.execute(counted.returning(AdminSession.failures)).first()
    if row is None:
        raise SessionEnded
    return int(row.failures)


def give_answer_back(session: Session, id_hash: bytes) -> None:
    """Give back an answer that was counted but not checked."""
    counted = (AdminSession.id_hash == id_hash, AdminSession.failures > 0)
    session.execute(update(AdminSession).where(*counted).values(failures=AdminSession.failures - 1))


def has_factor(session: Session, user_id: str) -> bool:
    """Tell whether the user, whose row is locked, has a second factor that counts.

    Not in the statement that locks the user: on Postgres that shows other tables as they were before it waited.
    """
    return session.scalar(_ACTIVE_FACTOR, {"user_id": user_id}) is not None


def is_alive(session: Session, id_hash: bytes) -> bool:
    """Tell whether this session has not ended."""
    return session.scalar(select(AdminSession.id_hash).where(AdminSession.id_hash == id_hash)) is not None


def end(session: Session, session_id: str) -> bool:
    """End this session in every process; tell whether there was one."""
    return end_one(session, digest(session_id))


def end_one(session: Session, id_hash: bytes) -> bool:
    """End the session with this hash; tell whether there was one."""
    return _changed(session.execute(delete(AdminSession).where(AdminSession.id_hash == id_hash)))


def end_all(session: Session, *user_ids: str, but: str = "") -> bool:
    """End all sessions of the users except the one with the id `but`; tell whether there were any."""
    return _changed(session.execute(_END_ALL, {"user_ids": user_ids, "but": digest(but)}))


def is_expired(now: datetime) -> ColumnElement[bool]:
    """Return the SQL condition for sessions that are too old or idle."""
    return _expired_if(**_limits(now))


def digest(session_id: str) -> bytes:
    """Return the hash of a session's id, which the table holds."""
    # "replace": a cookie may hold anything, an id is ASCII.
    return hashlib.sha256(session_id.encode("ascii", "replace")).digest()


def _limits(now: datetime) -> dict[str, datetime]:
    """Return the latest times of sessions that have expired by `now`."""
    return {"began": now - ABSOLUTE, "seen": now - IDLE, "asked": now - AWAITING}


def _expired_if(began: _Time, seen: _Time, asked: _Time) -> ColumnElement[bool]:
    too_late = AdminSession.awaits_factor & (AdminSession.created_at <= asked)
    return (AdminSession.created_at <= began) | (AdminSession.last_seen_at <= seen) | too_late


# Built once, as every sign-in or many users of one act run them: to build a statement takes longer than to run it.
_ACTIVE_FACTOR = (
    select(SecondFactor.id)
    .where(SecondFactor.user_id == bindparam("user_id"), SecondFactor.active_since.is_not(None))
    .limit(1)
)
_SESSIONS: Any = AdminSession.__table__  # without the mapper, which takes longer than the database
_END_ALL = delete(_SESSIONS).where(
    _SESSIONS.c.user_id.in_(bindparam("user_ids", expanding=True)), _SESSIONS.c.id_hash != bindparam("but")
)
_OF_STAGE = (
    select(AdminSession.id_hash, AdminSession.ip_address, AdminSession.known_browser)
    .where(AdminSession.user_id == bindparam("user_id"), AdminSession.awaits_factor == bindparam("awaits_factor"))
    .where(~_expired_if(bindparam("began"), bindparam("seen"), bindparam("asked")))
    .order_by(AdminSession.created_at.desc())
)


def _stage(user: Any, awaits_factor: bool, has_factor: bool) -> Stage:
    if awaits_factor:
        return Stage.FACTOR
    if user.password_change_required:
        return Stage.NEW_PASSWORD
    if not has_factor and settings.current().requires_second_factor(user.global_role_id):
        return Stage.ENROLMENT
    return Stage.COMPLETE


def _has_expired(found: Any, now: datetime) -> bool:
    age = now - found.created_at
    return bool(age >= (AWAITING if found.awaits_factor else ABSOLUTE) or now - found.last_seen_at >= IDLE)


def _end_oldest(session: Session, user_id: str, now: datetime, place: Place, *, awaits_factor: bool) -> None:
    """Make room for one more session. Those that await a factor are counted apart: they end no complete one.

    Of these, the ones in known browsers end last, and before them those from other networks than that of `place`: a
    thief of the password ends no sign-in of the user.
    """
    stage = {"user_id": user_id, "awaits_factor": awaits_factor}
    rows = list(session.execute(_OF_STAGE, {**stage, **_limits(now)}))
    if awaits_factor:
        network = ip_addresses.network_of(place.ip_address)
        rows.sort(key=lambda row: (not row.known_browser, ip_addresses.network_of(row.ip_address) == network))
    ending = [row.id_hash for row in rows[MOST_PER_USER - 1 :]]
    if ending:
        session.execute(delete(AdminSession).where(AdminSession.id_hash.in_(ending)))


def _changed(result: Any) -> bool:
    return isinstance(result, CursorResult) and result.rowcount > 0


def _note_seen(id_hash: bytes, user_id: str, now: datetime) -> None:
    """Write `last_seen_at`. If the database cannot write now, the request goes on."""
    unseen = (AdminSession.id_hash == id_hash, AdminSession.last_seen_at <= now - SEEN_EVERY)
    try:
        with database.transaction(wait=False) as session:
            session.execute(update(AdminSession).where(*unseen).values(last_seen_at=now))
    except Unavailable:
        logs.event("last_seen_skipped", user_id=user_id)
