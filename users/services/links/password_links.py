"""The link with which a user chooses a password: for a new user without one, or for a user who has forgotten it.

The link is signed and never stored. The signature covers the user, the end of the link, the email, the role and the
present hash; the link is valid while the column `password_link_ends_at` equals its end. A user has at most one link: a
newer one, its use, any new password, another email, another role, deactivation and deletion end it. The signature alone
ends it where an older version of Enrol, which does not know the column, changes the password, the email or the role.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from itsdangerous import BadSignature, Signer
from sqlalchemy.orm import Session

from users import clock, settings
from users.actors import Actor, ActorKind
from users.audit import trail
from users.audit.trail import Action
from users.auth import hasher
from users.auth.authorization import authorized_transaction
from users.errors import UserDeactivated, UserNotFound
from users.form_errors import PasswordLinkEnded
from users.passwords.hash_queue import Share
from users.roles import ALL_PERMISSIONS, Permission, needed_to_act_on
from users.rules import emails
from users.rules.validation import NewUser
from users.services import user_changes, user_creation, user_queries
from users.services.changes.outcomes import Outcome, Precondition, of_each
from users.storage.models import User

FIRST_LIFETIME = timedelta(days=7)  # for a user without a password
LIFETIME = timedelta(hours=24)
_EPOCH = datetime.fromtimestamp(0, UTC)
_MICROSECOND, _SECOND = timedelta(microseconds=1), timedelta(seconds=1)
# 43 characters of base64 for 32 bytes: the last two bits are zero, or there would be several ways to write a token.
_TOKEN = re.compile(r"(usr_[0-9a-f]{32})\.([1-9][0-9]{0,16})\.[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]", re.ASCII)


@dataclass(frozen=True)
class PasswordLink:
    """An open link: the user who may choose a password with it, its token and its end."""

    user: User
    token: str = field(repr=False)
    ends_at: datetime


def invite(
    new: NewUser,
    *,
    lifetime: timedelta | None = None,
    actor: Actor,
    before_insert: Callable[[Session, User], None] | None = None,
) -> PasswordLink:
    """Create a user and return their link, valid for `lifetime` or FIRST_LIFETIME.

    `new` comes from `validation.invitation` and has no password. Raises the errors of `user_creation.create_user`.
    """
    user = user_creation.create_user(
        new, actor=actor, link_lifetime=lifetime or FIRST_LIFETIME, before_insert=before_insert
    )
    return _link_of(user)


def make(
    user_id: str,
    *,
    lifetime: timedelta | None = None,
    actor: Actor,
    precondition: Precondition | None = None,
) -> PasswordLink:
    """Return a new link for the user, whom `actor` may change, and end the one before it.

    It is valid for `lifetime`, or else for FIRST_LIFETIME if the user has no password, for LIFETIME if they have one.
    Raises Denied, UserNotFound, UserDeactivated and what `precondition` raises.
    """
    with authorized_transaction(actor, Permission.USERS_UPDATE) as (session, actor):
        opened = open_each(session, [user_id], lifetime=lifetime, actor=actor, precondition=precondition)
        user, _ = opened.of_one()
    return _link_of(user)


def open_each(
    session: Session,
    user_ids: Sequence[str],
    *,
    start: datetime | None = None,
    lifetime: timedelta | None = None,
    actor: Actor,
    precondition: Precondition | None = None,
) -> Outcome:
    """Do `make` to each user in this transaction. The lifetime begins at `start`, without it now."""

    def open_one(user: User, now: datetime) -> bool:
        if not user.is_active:
            raise UserDeactivated
        if needed_to_act_on(user.global_role_id):
            actor.require_confirmation()
        ends_at = (start or now) + (lifetime or _lifetime_of(user))
        user.password_link_ends_at = _other_than(user.password_link_ends_at, ends_at)
        return True

    outcome = of_each(session, user_ids, open_one, actor=actor, precondition=precondition)
    trail.record_each(
        session, [(Action.PASSWORD_LINK_CREATE, user_id, []) for user_id in outcome.changed], actor, outcome.at
    )
    return outcome


def opened_at(user: User, start: datetime) -> PasswordLink | None:
    """Return the link that `open_each` has opened for the user from `start` on, None if it has ended by now."""
    if open_until(user) != start + _lifetime_of(user) or not user.is_active or user.deleted_at:
        return None
    return _link_of(user)


def _lifetime_of(user: User) -> timedelta:
    return LIFETIME if user.has_password else FIRST_LIFETIME


def revoke(user_id: str, *, actor: Actor) -> User:
    """End the open link of the user, whom `actor` may change, and return the user. Without one nothing happens.

    Raises Denied and UserNotFound.
    """
    with authorized_transaction(actor, Permission.USERS_UPDATE) as (session, actor):
        user = user_changes.lock_for_change(session, user_id, actor)
        if open_until(user):
            trail.record(session, Action.PASSWORD_LINK_REVOKE, user.id, actor, clock.now(), [])
        user.password_link_ends_at = None
    return user


def open_until(user: User) -> datetime | None:
    """Return the end of the user's open link, None if there is none."""
    ends_at = user.password_link_ends_at
    return ends_at if ends_at and clock.now() < ends_at else None


def sign_again(invited: Mapping[str, Any], ends_at: datetime, secret_key: str) -> PasswordLink | None:
    """Return the link that `invite` returned, the same text, or None if it has ended.

    `invited` holds the nine members of the user as they were then, and `secret_key` is the one of then: whatever has
    changed since, this signs no link that was not there already.
    """
    email = emails.possible_emails(invited["email"])[0]
    role = invited["global_role_id"]
    then = SimpleNamespace(id=invited["id"], email_key=email.key, global_role_id=role, password_hash="")
    token = _token(then, ends_at, [secret_key])
    try:
        return PasswordLink(find_user(token), token, ends_at)
    except PasswordLinkEnded:
        return None


def is_token(text: str) -> bool:
    """Tell whether `text` has the form of a token."""
    return bool(_TOKEN.fullmatch(text))


def find_user(token: str) -> User:
    """Return the user who may choose a password with the link, or raise PasswordLinkEnded. Writes nothing."""
    parts = _TOKEN.fullmatch(token)
    if parts is None:
        raise PasswordLinkEnded
    try:
        user = user_queries.get_user(parts[1])
    except UserNotFound:
        raise PasswordLinkEnded from None
    _require_open(token, user)
    return user


def use(token: str, password: str, *, actor: Actor) -> User:
    """Set the password of the link's user, once; their sessions end. Return the user.

    `password` has passed `validation.new_password`. Raises PasswordLinkEnded, before the hash if the link has ended by
    then, Invalid for the present password if the user must choose a new one, and Overloaded.
    """
    user = find_user(token)
    if user.password_change_required:
        with hasher.current().place(Share.KNOWN) as place:
            hasher.require_other(place, user.password_hash, password, user_queries.password_make(user.id))
    holder = replace(actor, kind=ActorKind.PASSWORD_LINK, permissions=ALL_PERMISSIONS, needs_confirmation=False)
    try:
        return user_changes.set_password(
            user.id,
            password,
            must_change=False,
            actor=holder,
            precondition=lambda locked: _require_open(token, locked),
        )
    except UserNotFound:
        raise PasswordLinkEnded from None


def _require_open(token: str, user: User) -> None:
    """Raise PasswordLinkEnded unless this is the user's open link."""
    ends_at = open_until(user)
    if ends_at is None or not user.is_active or token.split(".")[1] != _number(ends_at):
        raise PasswordLinkEnded
    try:
        _signer(user).unsign(token)
    except BadSignature:
        raise PasswordLinkEnded from None


def _other_than(before: datetime | None, ends_at: datetime) -> datetime:
    """Return `ends_at`, or the next microsecond that is later than `before`: two links with one end would be one."""
    if before and ends_at <= before < ends_at + _SECOND:
        return before + _MICROSECOND
    return ends_at


def _link_of(user: User) -> PasswordLink:
    """Return the link of a user whose column holds its end."""
    ends_at = user.password_link_ends_at
    assert ends_at  # noqa: S101  (it was just set)
    return PasswordLink(user, _token(user, ends_at), ends_at)


def _token(user: Any, ends_at: datetime, secret_keys: Sequence[str] = ()) -> str:
    return _signer(user, secret_keys).sign(f"{user.id}.{_number(ends_at)}").decode("ascii")


def _number(ends_at: datetime) -> str:
    """Return the end of a link in microseconds since 1970: in seconds, two links of one second would be the same."""
    return str((ends_at - _EPOCH) // _MICROSECOND)


def _signer(user: Any, secret_keys: Sequence[str] = ()) -> Signer:
    secrets = (secret_keys or settings.current().secret_keys)[::-1]  # the last one signs
    salt = f"password link of {user.email_key} as {user.global_role_id} with {user.password_hash}"
    return Signer(secrets, salt, key_derivation="hmac", digest_method=hashlib.sha256)
