"""The list of a user's sessions, and the end of one that it names."""

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from users import clock
from users.auth import sessions
from users.storage import database
from users.storage.models import AdminSession


def of_user(user_id: str) -> Sequence[AdminSession]:
    """Return the sessions of the user that live, the newest first.

    Those that await a factor are among them: the user sees that a browser has their password.
    """
    theirs = (AdminSession.user_id == user_id, ~sessions.is_expired(clock.now()))
    with database.reading() as session:
        found = select(AdminSession).where(*theirs).order_by(AdminSession.created_at.desc(), AdminSession.id_hash)
        return session.scalars(found).all()


def name_of(listed: AdminSession) -> str:
    """Return what names a session in a form of its user. Its id changes at each proof, the start of it never."""
    return listed.created_at.isoformat()


def end_named(session: Session, user_id: str, name: str, *, but: bytes | None) -> bool:
    """End the user's session of this name, see `name_of`, except the one with the hash `but`; tell whether it lived.

    The user's row is locked, so the session gets no new id meanwhile.
    """
    theirs = session.scalars(select(AdminSession).where(AdminSession.user_id == user_id)).all()
    ending = [one.id_hash for one in theirs if name_of(one) == name and one.id_hash != but]
    ended = delete(AdminSession).where(AdminSession.id_hash.in_(ending)).returning(AdminSession.id_hash)
    return session.scalars(ended).first() is not None
