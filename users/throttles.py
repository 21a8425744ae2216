"""Limits that guard a password: how often it may be wrong, for each account and each address.

They are rows, exact across processes and restarts. A try is spent before the password is looked at, so that a
hundred at once are ten; it is given back if the password was right, or was not judged and the request has time left
for the database. All tries are back once five minutes pass without one being spent, so that no five minutes ever see
more than ten.
"""

import hashlib
import hmac
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import bindparam, case, delete, func, select, text, update
from sqlalchemy.orm import Session

from users import clock, database, limits, settings
from users.columns import UtcDateTime
from users.errors import TooManyWrongPasswords
from users.models import Throttle

TRIES = 10
PERIOD = timedelta(minutes=5)

# One statement, so that both databases do it at once: no row is touched when no try is left.
_SPEND = text("""
    INSERT INTO throttles (key, tokens, refilled_at) VALUES (:key, :full - 1, :refilled_at)
    ON CONFLICT (key) DO UPDATE SET
        tokens = CASE WHEN throttles.refilled_at <= :now THEN excluded.tokens ELSE throttles.tokens - 1 END,
        refilled_at = excluded.refilled_at
    WHERE throttles.refilled_at <= :now OR throttles.tokens > 0
""").bindparams(bindparam("now", type_=UtcDateTime), bindparam("refilled_at", type_=UtcDateTime))


class Tries(NamedTuple):
    """The keys of the rows that a password is counted in. Rows are locked in this order, never the other."""

    account: bytes
    address: bytes | None  # None: whoever typed the password sits at another application, whose address says nothing

    @property
    def keys(self) -> list[bytes]:
        """Return the keys of the rows there are."""
        return [key for key in self if key]


def of(account: str, address: str | None) -> Tries:
    """Return where a password is counted that is sent for `account`, whether there is such a one or not, by `address`.

    The rows hold keyed hashes: what stands in the field for an address is sometimes a password.
    """
    return Tries(_key(f"account {account}"), _key(f"address {limits.network(address)}"))


def of_account(account: str) -> Tries:
    """Return where a password is counted that another application sends for `account`: in the same row of it."""
    return Tries(_key(f"account {account}"), None)


def _key(counted: str) -> bytes:
    secret = settings.current().secret_key.encode()
    return hmac.digest(secret, counted.encode("utf-8", "surrogatepass"), hashlib.sha256)


def spend(tries: Tries) -> None:
    """Spend a try of the account and one of the address, or none and raise TooManyWrongPasswords."""
    now = clock.now()
    with database.transaction() as session:
        used_up = [key for key in tries.keys if not _spend_one(session, key, now)]
        if used_up:
            latest = select(func.max(Throttle.refilled_at)).where(Throttle.key.in_(used_up))
            raise TooManyWrongPasswords(((session.scalar(latest) or now) - now).total_seconds())


def restore(session: Session, tries: Tries) -> None:
    """After the right password: give the account all its tries back, and the address the one that it spent.

    An address's other tries stay spent, or whoever has an account could guess at others for ever.
    """
    session.execute(delete(Throttle).where(Throttle.key == tries.account))
    if tries.address:
        _return_one(session, tries.address)


def give_back(tries: Tries) -> None:
    """Give back the tries that were spent for a password that then was not judged."""
    with database.transaction() as session:
        for key in tries.keys:
            _return_one(session, key)


def is_first_refusal(session: Session, tries: Tries) -> bool:
    """Tell whether nobody was refused yet since the tries of the account, or of the address, were used up.

    It is so once, also for several who ask at the same time.
    """
    used_up = update(Throttle).where(Throttle.tokens == 0, Throttle.refilled_at > clock.now()).values(tokens=-1)
    marked = [_changed(session.execute(used_up.where(Throttle.key == key))) for key in tries.keys]
    return any(marked)


def _spend_one(session: Session, key: bytes, now: datetime) -> bool:
    values = {"key": key, "full": TRIES, "now": now, "refilled_at": now + PERIOD}
    return _changed(session.execute(_SPEND, values, execution_options={"preserve_rowcount": True}))


def _return_one(session: Session, key: bytes) -> None:
    more = case((Throttle.tokens < 0, 1), else_=Throttle.tokens + 1)
    spent = (Throttle.key == key, Throttle.tokens < TRIES)
    session.execute(update(Throttle).where(*spent).values(tokens=more))


def _changed(result: Any) -> bool:
    return bool(result.rowcount > 0)
