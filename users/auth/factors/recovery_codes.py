"""Recovery codes: each stands once for a factor that is lost. Shown when they are made, then stored as hashes."""

import hashlib
import re
import secrets
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from users.storage import database
from users.storage.models import RecoveryCode

NUMBER = 10
FEW = 2  # left: the pages ask for new ones
LENGTH, GROUP = 24, 4  # 24 letters of 5 bits: 120 bits cannot be guessed, so a plain hash is enough
# Base 32 without look-alikes (Crockford's): I, L, O and U are left out, and read as 1, 1, 0 and V.
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CODES: Any = RecoveryCode.__table__
_FORGET = delete(_CODES).where(_CODES.c.user_id.in_(bindparam("user_ids", expanding=True)))
_READ_AS = str.maketrans("ILOU", "110V")


def replace(session: Session, user_id: str) -> list[str]:
    """Make new codes in place of the user's present ones, and return them in groups of four letters."""
    codes = ["".join(secrets.choice(ALPHABET) for _ in range(LENGTH)) for _ in range(NUMBER)]
    forget(session, user_id)
    session.add_all(RecoveryCode(user_id=user_id, code_hash=_digest(code)) for code in codes)
    return ["-".join(re.findall(f".{{{GROUP}}}", code)) for code in codes]


def forget(session: Session, *user_ids: str) -> None:
    """Delete the codes of the users."""
    session.execute(_FORGET, {"user_ids": user_ids})


def take(session: Session, user_id: str, code: str, now: datetime) -> bool:
    """Take the code, typed in any case and with any spaces and hyphens; tell whether it was one not used yet."""
    unused = (RecoveryCode.user_id == user_id, RecoveryCode.code_hash == _digest(_normal(code)))
    taken = session.execute(update(RecoveryCode).where(*unused, RecoveryCode.used_at.is_(None)).values(used_at=now))
    return isinstance(taken, CursorResult) and taken.rowcount == 1


def count_left(user_id: str) -> int:
    """Return how many codes of the user are not used yet."""
    left = (RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None))
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(RecoveryCode).where(*left)) or 0


def has_any(session: Session, user_id: str) -> bool:
    """Tell whether codes were made for the user, used or not."""
    return session.scalar(select(RecoveryCode.user_id).where(RecoveryCode.user_id == user_id).limit(1)) is not None


def _normal(code: str) -> str:
    return re.sub(r"[\s-]", "", code).upper().translate(_READ_AS)


def _digest(code: str) -> bytes:
    return hashlib.sha256(code.encode("utf-8", "replace")).digest()
