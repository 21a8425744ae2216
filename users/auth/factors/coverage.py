"""Which administrators have no second factor, and which authenticator apps depend on an older secret key."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from users.auth import sessions
from users.auth.factors import sealing
from users.auth.factors.held import Kind
from users.roles import Role
from users.storage import database
from users.storage.models import SecondFactor, User

_MOST_APPS = 10_000  # that are looked at: some 100 µs each


@dataclass(frozen=True)
class Administrators:
    """How many active administrators there are, and those who have no second factor, the oldest first."""

    number: int
    without: Sequence[User]


@dataclass(frozen=True)
class AppUsers:
    """How many users have an app whose secret an older key sealed, and how many one that no key here opens."""

    of_older_key: int
    unreadable: int


def administrators() -> Administrators:
    """Return the active administrators as far as second factors go."""
    active = (User.global_role_id == Role.ADMIN, User.is_active, User.deleted_at.is_(None))
    with database.reading() as session:
        found = session.execute(select(User, sessions.HAS_FACTOR).where(*active).order_by(User.id)).all()
    return Administrators(len(found), [user for user, has_factor in found if not has_factor])


def app_users() -> AppUsers:
    """Return how many users need an older secret key for their app, or cannot use it: of 10,000 apps at most.

    These are the apps that were not used for longest. Each use seals the secret anew, so none of an older key is missed
    while newer ones are looked at.
    """
    counting = (SecondFactor.kind == Kind.APP, SecondFactor.active_since.is_not(None))
    used_at = func.coalesce(SecondFactor.last_used_at, SecondFactor.active_since)
    apps = select(SecondFactor.user_id, SecondFactor.secret).where(*counting).order_by(used_at, SecondFactor.id)
    with database.reading() as session:
        found = session.execute(apps.limit(_MOST_APPS)).all()
    older, unreadable = set[str](), set[str]()
    for user_id, secret in found:
        if not sealing.is_newest(secret):
            (older if sealing.is_readable(secret) else unreadable).add(user_id)
    return AppUsers(len(older), len(unreadable))
