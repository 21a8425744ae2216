"""The link that verifies an email: signed, valid for a day, for the person who reads the mail of that email.

Nothing is stored. The signature covers the user, the expiry, the email (which is not in the link) and the time when the
email last changed. So a link from before a change is invalid, also after the email is changed back, and so is the link
of a deleted user. Another spelling is a change too: a link is for the text to which it was sent.
"""

import hashlib
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from itsdangerous import BadSignature, Signer

from users import clock, settings
from users.actors import Actor, ActorKind
from users.audit import trail
from users.audit.trail import Action
from users.auth.authorization import authorized_transaction
from users.errors import UserNotFound
from users.form_errors import VerificationLinkEnded
from users.roles import ALL_PERMISSIONS, Permission
from users.services import user_changes, user_queries
from users.storage.models import User

LIFETIME = timedelta(hours=24)
_TOKEN = re.compile(r"(usr_[0-9a-f]{32})\.([0-9]{1,11})\.[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True)
class IssuedLink:
    """A new link: the user whose email it verifies, its token and its expiry."""

    user: User
    token: str = field(repr=False)
    expires_at: datetime


class _AlreadyUsed(Exception):
    """The link has verified the email already."""


def issue(user_id: str, *, actor: Actor) -> IssuedLink:
    """Return a new link for the user, whom `actor` may change. Raises Denied, UserNotFound."""
    now = clock.now()
    expires_at = (now + LIFETIME).replace(microsecond=0)
    with authorized_transaction(actor, Permission.USERS_UPDATE) as (session, actor):
        user = user_changes.lock_for_change(session, user_id, actor)
        trail.record(session, Action.VERIFICATION_CREATE, user.id, actor, now, [])
    signed = _signer(user).sign(f"{user.id}.{int(expires_at.timestamp())}")
    return IssuedLink(user, signed.decode("ascii"), expires_at)


def is_token(text: str) -> bool:
    """Tell whether `text` has the form of a token."""
    return bool(_TOKEN.fullmatch(text))


def find_user(token: str) -> User:
    """Return the user whose email the link verifies, or raise VerificationLinkEnded. Writes nothing."""
    parts = _TOKEN.fullmatch(token)
    if parts is None or clock.now() >= _expiry(token):
        raise VerificationLinkEnded
    try:
        user = user_queries.get_user(parts[1])
    except UserNotFound:
        raise VerificationLinkEnded from None
    _require_signed(token, user)
    return user


def is_used(token: str, user: User) -> bool:
    """Tell whether the email was verified after the link was made."""
    return bool(user.last_verified and user.last_verified >= _expiry(token) - LIFETIME)


def use(token: str, *, actor: Actor) -> None:
    """Verify the email of the link, once. Raises VerificationLinkEnded."""
    user = find_user(token)
    holder = replace(actor, kind=ActorKind.VERIFICATION, permissions=ALL_PERMISSIONS)
    try:
        user_changes.verify_user(user.id, actor=holder, precondition=lambda locked: _require_usable(token, locked))
    except UserNotFound:
        raise VerificationLinkEnded from None
    except _AlreadyUsed:
        return


def _expiry(token: str) -> datetime:
    return datetime.fromtimestamp(int(token.split(".")[1]), UTC)


def _require_usable(token: str, user: User) -> None:
    """Check the link again with the user locked: the email may have changed, or a second click may have come."""
    _require_signed(token, user)
    if is_used(token, user):
        raise _AlreadyUsed


def _require_signed(token: str, user: User) -> None:
    try:
        _signer(user).unsign(token)
    except BadSignature:
        raise VerificationLinkEnded from None


def _signer(user: User) -> Signer:
    secrets = settings.current().secret_keys[::-1]  # the last one signs
    salt = f"verification of {user.email}"
    if user.email_changed_at:  # else the salt of older versions, whose links stay valid; no email has a space
        salt += f" since {user.email_changed_at.astimezone(UTC).isoformat()}"
    return Signer(secrets, salt, key_derivation="hmac", digest_method=hashlib.sha256)
