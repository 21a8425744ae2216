"""Sessions of users, begun without a sign-in: at any time, from anywhere, and waiting for a factor or not."""

from datetime import datetime, timedelta

from flask import Flask

from support.databases import rows
from support.visitors import Visitor
from users import clock
from users.auth import session_list, sessions
from users.auth.sessions import CurrentSession, Place
from users.storage import database
from users.storage.models import User

HERE = Place("192.0.2.7", "Firefox on Windows")


def begin_session(
    app: Flask, user: User, *, minutes_ago: float = 0, place: Place = HERE, awaits_factor: bool = False
) -> CurrentSession:
    """Begin a session of the user so long ago."""
    at = clock.now() - timedelta(minutes=minutes_ago)
    with app.app_context(), database.transaction() as session:
        found = session.get_one(User, user.id)
        return sessions.start(session, found, at, place, has_factor=awaits_factor, awaits_factor=awaits_factor)


def browser_with(app: Flask, begun: CurrentSession) -> Visitor:
    """Return a browser that has this session."""
    visitor = Visitor(app.test_client())
    visitor.session_id = begun.id
    return visitor


def starts_of(app: Flask, user: User) -> list[datetime]:
    """Return when the living sessions of the user began, the newest first."""
    with app.app_context():
        return [one.created_at for one in session_list.of_user(user.id)]


def hashes_of(app: Flask, user: User) -> set[bytes]:
    """Return the hashes of all sessions of the user that the table holds."""
    found = rows(app, "SELECT id_hash FROM admin_sessions WHERE user_id = :id", id=user.id)
    return {bytes(row.id_hash) for row in found}
