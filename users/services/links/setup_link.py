"""The set-up link, which creates the first administrator: a terminal shows it, at a start or by `flask setup-link`."""

import hashlib
import re
import secrets
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from users import clock
from users.actors import Actor
from users.form_errors import SetupLinkEnded, SetupOver
from users.rules.validation import NewUser
from users.services import user_creation, user_queries
from users.storage import database
from users.storage.models import SetupLink, User

LIFETIME = timedelta(minutes=30)
DEFAULT_BASE_URL = "http://127.0.0.1:8000"  # where the production line of OPERATIONS.md listens
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)  # 32 bytes
_LOCK = 0x7365747570  # "setup", the number of the lock


def issue() -> str | None:
    """Return the token of a new link, which replaces every earlier one; None while there is an administrator."""
    token = secrets.token_urlsafe(32)
    with database.transaction() as session:
        database.advisory_lock(session, _LOCK)
        if user_queries.has_administrator(session):
            return None
        session.execute(delete(SetupLink))
        session.add(SetupLink(token_hash=_digest(token), created_at=clock.now()))
    return token


def url(base_url: str, token: str) -> str:
    """Return the link itself."""
    return f"{base_url}/setup?token={token}"


def is_over() -> bool:
    """Tell whether there is an active administrator."""
    with database.reading() as session:
        return user_queries.has_administrator(session)


def is_token(text: str) -> bool:
    """Tell whether `text` has the form of a token."""
    return bool(_TOKEN.fullmatch(text))


def require_open(token: str) -> None:
    """Raise SetupOver or SetupLinkEnded if `create_administrator` would do so now. Writes nothing."""
    with database.reading() as session:
        _require_open(session, token)


def is_valid(token: str) -> bool:
    """Tell whether `token` is that of the newest link and not expired. The link stays usable."""
    with database.reading() as session:
        return _link(session, token) is not None


def create_administrator(new: NewUser, token: str, *, actor: Actor) -> User:
    """Create the first administrator and delete the link.

    Raises SetupOver to all but the first of parallel requests, SetupLinkEnded, Conflict.
    """
    return user_creation.create_user(new, actor=actor, before_insert=partial(_claim, token))


def _claim(token: str, session: Session, _user: User) -> None:
    # One request at a time holds the lock; the next one finds an administrator.
    database.advisory_lock(session, _LOCK)
    _require_open(session, token)
    session.execute(delete(SetupLink))


def _require_open(session: Session, token: str) -> None:
    if user_queries.has_administrator(session):
        raise SetupOver
    if _link(session, token) is None:
        raise SetupLinkEnded


def _link(session: Session, token: str) -> SetupLink | None:
    return session.scalar(select(SetupLink).where(SetupLink.token_hash == _digest(token), ~is_expired(clock.now())))


def is_expired(now: datetime) -> ColumnElement[bool]:
    """Return the SQL condition for links that are too old."""
    return SetupLink.created_at <= now - LIFETIME


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
