"""The second factors that a user holds, and the check of an answer given with one of them."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, delete, select, update
from sqlalchemy.orm import Session

from users import clock
from users.auth.factors import apps, passkeys, recovery_codes, sealing
from users.auth.factors.passkeys import BadPasskey, Site
from users.passwords.hashing import WrongPassword
from users.storage import database
from users.storage.models import AdminSession, SecondFactor

UNFINISHED_KEPT = timedelta(hours=1)
_FACTORS: Any = SecondFactor.__table__
_THEIRS = _FACTORS.c.user_id.in_(bindparam("user_ids", expanding=True))
_ACTIVE_SINCE = select(_FACTORS.c.active_since).where(_THEIRS)  # built once, as `_FORGET`, for acts on many users
_FORGET = delete(_FACTORS).where(_THEIRS)


class Kind(StrEnum):
    """What a user answers with beside the password; the audit trail names it."""

    APP = "totp"
    PASSKEY = "passkey"
    RECOVERY_CODE = "recovery_code"


class WrongCode(WrongPassword):
    """The code or passkey is wrong; it counts as a wrong password does. `fields` go into the audit row.

    They tell it from a wrong password: after it, the password was right.
    """

    def __init__(self, *fields: str) -> None:
        super().__init__()
        self.fields = list(fields) or ["second_factor"]


@dataclass(frozen=True)
class Answer:
    """What a user gave at the page that asks for the second factor: a typed code, or what a passkey signed."""

    code: str = field(default="", repr=False)
    credential: str = field(default="", repr=False)
    site: Site | None = None  # None: no passkey can be used at this address

    @property
    def kind(self) -> Kind:
        """Return what the answer is given with, by its form."""
        if self.credential:
            return Kind.PASSKEY
        return Kind.APP if apps.is_code(apps.tidied(self.code)) else Kind.RECOVERY_CODE


def of_user(user_id: str) -> Sequence[SecondFactor]:
    """Return the factors of the user that count, the oldest first."""
    with database.reading() as session:
        return session.scalars(_active(user_id)).all()


def passkeys_of(user_id: str) -> list[SecondFactor]:
    """Return the passkeys of the user that count, the oldest first."""
    return [factor for factor in of_user(user_id) if factor.kind == Kind.PASSKEY]


def passkey_without_codes(user_id: str) -> SecondFactor | None:
    """Return the passkey that the user has added and that does not count yet: its recovery codes were only shown."""
    theirs = (SecondFactor.user_id == user_id, SecondFactor.kind == Kind.PASSKEY, SecondFactor.active_since.is_(None))
    with database.reading() as session:
        return session.scalars(select(SecondFactor).where(*theirs)).first()


def forget(session: Session, *user_ids: str) -> bool:
    """Delete all factors and recovery codes of the users; tell whether there was a factor."""
    recovery_codes.forget(session, *user_ids)
    found = session.scalars(_ACTIVE_SINCE, {"user_ids": user_ids}).all()
    if found:
        session.execute(_FORGET, {"user_ids": user_ids})
    return any(found)


def take(session: Session, user_id: str, answer: Answer, challenge: bytes | None, now: datetime) -> Kind:
    """Take the answer, which can be given once, and return its kind. Raises WrongCode.

    The user's row must be locked, so of parallel requests one gets through.
    """
    held = session.scalars(_active(user_id).with_for_update()).all()
    if answer.kind is Kind.PASSKEY:
        _take_passkey(held, answer, challenge, now)
    elif answer.kind is Kind.APP:
        _take_code(held, apps.tidied(answer.code), now)
    elif not held or not recovery_codes.take(session, user_id, answer.code, now):
        raise WrongCode
    return answer.kind


def new_challenge(id_hash: bytes) -> bytes:
    """Return a new challenge for a passkey to sign, kept in the session's row in place of the one before."""
    challenge = secrets.token_bytes(passkeys.CHALLENGE_BYTES)
    this = update(AdminSession).where(AdminSession.id_hash == id_hash)
    with database.transaction() as session:
        session.execute(this.values(challenge=challenge, challenge_made_at=clock.now()))
    return challenge


def take_challenge(session: Session, id_hash: bytes, now: datetime) -> bytes | None:
    """Return the session's challenge and remove it; None if there is none or it is too old."""
    this = AdminSession.id_hash == id_hash
    row = session.execute(
        select(AdminSession.challenge, AdminSession.challenge_made_at).where(this).with_for_update()
    ).first()
    session.execute(update(AdminSession).where(this).values(challenge=None))
    if row is None or row.challenge is None or row.challenge_made_at is None:
        return None
    age = now - row.challenge_made_at
    return bytes(row.challenge) if timedelta() <= age < passkeys.CHALLENGE_LIFETIME else None


def is_abandoned(now: datetime) -> ColumnElement[bool]:
    """Return the SQL condition for factors that were begun and do not count within UNFINISHED_KEPT."""
    return SecondFactor.active_since.is_(None) & (SecondFactor.created_at <= now - UNFINISHED_KEPT)


def is_readable(factor: SecondFactor) -> bool:
    """Tell whether the factor can be checked: a changed SECRET_KEY, without a fallback, makes apps unreadable."""
    return factor.kind == Kind.PASSKEY or sealing.is_readable(factor.secret)


def _active(user_id: str) -> Select[SecondFactor]:
    theirs = (SecondFactor.user_id == user_id, SecondFactor.active_since.is_not(None))
    return select(SecondFactor).where(*theirs).order_by(SecondFactor.id)


def _take_code(held: Sequence[SecondFactor], code: str, now: datetime) -> None:
    for factor in held:
        if factor.kind == Kind.APP and is_readable(factor) and apps.take(factor, code, now):
            factor.last_used_at = now
            return
    raise WrongCode


def _take_passkey(held: Sequence[SecondFactor], answer: Answer, challenge: bytes | None, now: datetime) -> None:
    mine = passkeys.made_for(answer.site, [factor for factor in held if factor.kind == Kind.PASSKEY])
    if challenge is None or answer.site is None:
        raise WrongCode
    try:
        factor = passkeys.take(answer.site, mine, challenge, answer.credential)
    except BadPasskey as error:
        raise WrongCode(*(["sign_count"] if error.sign_count else [])) from None
    factor.last_used_at = now
