"""What people do with their own account: sign in and out, change their password, end their other sessions."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from users import audit, clock, database, emails, service, sessions
from users.access import Actor
from users.audit import Action
from users.models import User
from users.passwords import WrongPassword


def sign_in(email: str, password: str, *, replacing: str = "", actor: Actor) -> tuple[User, str]:
    """Return the user and the id of a new session, which takes the place of the session `replacing`.

    Raises WrongPassword for whatever cause: the same answer after the same work (one hash) for an unknown address,
    a wrong password and a user who may not sign in.
    """
    user = _candidate(email)
    try:
        service.hasher().verify(user.password_hash if user else None, password)
        return _begin(user, password, replacing, actor)
    except WrongPassword:
        _note_refusal(user, actor)
        raise


def sign_out(session_id: str, *, actor: Actor) -> None:
    """End the session everywhere; nothing happens if it has ended already."""
    with database.transaction() as session:
        if sessions.end(session, session_id):
            audit.record(session, Action.SESSION_END, actor.user_id, actor, clock.now(), [])


def end_other_sessions(session_id: str, *, actor: Actor) -> None:
    """End the actor's sessions but this one."""
    assert actor.user_id  # noqa: S101  (only somebody signed in has a session)
    with database.transaction() as session:
        if sessions.end_all(session, actor.user_id, but=session_id):
            audit.record(session, Action.SESSION_END_OTHERS, actor.user_id, actor, clock.now(), [])


def change_password(user: User, current: str, new: str, *, actor: Actor) -> str:
    """Give `user` the password `new`, checked before, end all the user's sessions and return the id of a new one.

    Raises WrongPassword when `current` is not the user's password (any more).
    """
    service.hasher().verify(user.password_hash, current)
    password_hash = service.hasher().hash(new)
    with database.transaction() as session:
        found = _unchanged(session, user)
        now = clock.now()
        found.password_hash = password_hash
        found.updated_at = now
        sessions.end_all(session, found.id)
        audit.record(session, Action.USER_SET_PASSWORD, found.id, actor, now, ["password"])
        return sessions.start(session, found.id, now)


def _candidate(email: str) -> User | None:
    try:
        key = emails.lookup_key(email)
    except emails.BadEmail:
        key = ""
    with database.reading() as session:
        return session.scalar(select(User).where(User.email_key == key, User.deleted_at.is_(None)))


def _begin(user: User | None, password: str, replacing: str, actor: Actor) -> tuple[User, str]:
    if user is None or not sessions.may_sign_in(user):
        raise WrongPassword
    hasher = service.hasher()
    password_hash = hasher.hash(password) if hasher.is_outdated(user.password_hash) else user.password_hash
    with database.transaction() as session:
        found = _unchanged(session, user)
        now = clock.now()
        found.password_hash = password_hash
        found.last_login = now
        if replacing and sessions.end(session, replacing):
            audit.record(session, Action.SESSION_END, actor.user_id, actor, now, [])
        session_id = sessions.start(session, found.id, now)
        audit.record(session, Action.SESSION_CREATE, found.id, actor.become(found), now, [])
    return found, session_id


def _unchanged(session: Session, user: User) -> User:
    """Return `user` anew, locked; a password that was changed while a hash was computed is wrong now."""
    found = session.scalar(select(User).where(User.id == user.id).with_for_update())
    if found is None or found.password_hash != user.password_hash or not sessions.may_sign_in(found):
        raise WrongPassword
    return found


def _note_refusal(user: User | None, actor: Actor) -> None:
    with database.transaction() as session:
        target_id = user.id if user else None
        audit.record(session, Action.SESSION_CREATE, target_id, actor, clock.now(), [], outcome="refused")
