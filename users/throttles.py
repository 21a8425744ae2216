"""Limits that guard a password: how many tries there are, as rows, exact across processes and restarts.

An attempt is counted before the check, so that 100 parallel requests get at most 10 attempts. It is given back if the
password was right, or was not judged and the request has time left for the database. All tries of a row are back once
its period has passed since the last wrong password, so that no period ever sees more wrong ones than the limit.
What a password counts for is decided in `attempts`.
"""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, case, delete, func, select, text, update
from sqlalchemy.orm import Session

from users import audit, clock, database, settings
from users.actors import Actor
from users.audit import Action, Outcome
from users.columns import UtcDateTime
from users.errors import AccountClosed, RateLimitExceeded, TooManyWrongPasswords
from users.models import Throttle


@dataclass(frozen=True)
class Limit:
    """So many `tries`, all back after a `period` without a wrong one."""

    tries: int
    period: timedelta
    closes: bool = False  # for good: the period says only when the row may be forgotten


@dataclass(frozen=True)
class Count:
    """One row that an attempt is counted in. `account` is the same in all rows that are about one account."""

    key: bytes
    limit: Limit
    account: bytes | None = None


@dataclass(frozen=True)
class Tries:
    """The rows that an attempt is counted in. A success also takes away `ends`: failures in a row end with it."""

    counts: tuple[Count, ...]
    error: type[RateLimitExceeded] = TooManyWrongPasswords
    ends: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        # Every transaction that locks several rows does so in the order of their keys: none waits in a circle.
        object.__setattr__(self, "counts", tuple(sorted(self.counts, key=lambda count: count.key)))

    @property
    def keys(self) -> list[bytes]:
        """Return the keys of the rows."""
        return [count.key for count in self.counts]


# Within this time an attempt is judged or given up: hash queue, hash and database. Until then it stays counted.
_JUDGED_WITHIN = timedelta(seconds=30)
# A row that lies further ahead than its period was written under a clock that has been set back since. The clocks of
# two machines differ a little.
_CLOCKS_DIFFER = timedelta(minutes=1)

# One statement, so that both databases do it at once: no row is touched when no try is left.
_IS_STALE = "(throttles.refilled_at <= :now OR throttles.refilled_at > :latest)"
_SPEND = text(f"""
    INSERT INTO throttles (key, account, tokens, refilled_at) VALUES (:key, :account, :tries - 1, :soon)
    ON CONFLICT (key) DO UPDATE SET
        tokens = CASE WHEN {_IS_STALE} THEN excluded.tokens ELSE throttles.tokens - 1 END,
        refilled_at = CASE WHEN {_IS_STALE} OR throttles.refilled_at < :soon
            THEN excluded.refilled_at ELSE throttles.refilled_at END
    WHERE {_IS_STALE} OR throttles.tokens > 0
""").bindparams(*(bindparam(name, type_=UtcDateTime) for name in ("now", "soon", "latest")))  # noqa: S608  (no input)


def key(counted: str) -> bytes:
    """Return the key of what is counted, a keyed hash: what is typed as an address is sometimes a password."""
    secret = settings.current().secret_key.encode()
    return hmac.digest(secret, counted.encode("utf-8", "surrogatepass"), hashlib.sha256)


def spend(session: Session, tries: Tries) -> None:
    """Spend a try of every row, or raise `tries.error` or AccountClosed; the transaction is then to be rolled back."""
    now = clock.now()
    used_up = [count for count in tries.counts if not _spend_one(session, count, now)]
    if used_up:
        raise _refusal(session, used_up, tries, now)


def require_left(session: Session, tries: Tries) -> None:
    """Raise what `spend` would raise, and spend nothing."""
    now = clock.now()
    used_up = [count for count in tries.counts if _is_used_up(session, count, now)]
    if used_up:
        raise _refusal(session, used_up, tries, now)


def has_left(count: Count) -> bool:
    """Tell whether a try of this row is left."""
    with database.reading() as session:
        return not _is_used_up(session, count, clock.now())


def note_wrong(session: Session, tries: Tries) -> None:
    """Let the tries that were spent come back only a whole period from now."""
    now = clock.now()
    for count in tries.counts:
        earlier = (Throttle.key == count.key, Throttle.refilled_at < now + count.limit.period)
        session.execute(update(Throttle).where(*earlier).values(refilled_at=now + count.limit.period))


def restore(session: Session, tries: Tries) -> None:
    """After a success: give the account all tries back, and a network the one that was spent.

    A network's other tries stay spent, or whoever has an account could guess at others for ever.
    """
    theirs = [count.key for count in tries.counts if count.account]
    _delete(session, Throttle.key.in_(theirs) | (Throttle.key.in_(tries.ends) & (Throttle.tokens > 0)))
    for count in tries.counts:
        if not count.account:
            _return_one(session, count)


def restore_account(session: Session, account: bytes) -> bool:
    """Give all tries of this account back, from everywhere; tell whether any had been spent."""
    return _delete(session, Throttle.account == account)


def refuses(account: bytes) -> bool:
    """Tell whether somebody's tries of this account are used up now."""
    used_up = (Throttle.account == account, Throttle.tokens <= 0, Throttle.refilled_at > clock.now())
    with database.reading() as session:
        return session.scalar(select(Throttle.key).where(*used_up).limit(1)) is not None


def give_back(tries: Tries) -> None:
    """Give back the tries that were spent on an attempt that then was not judged."""
    with database.transaction() as session:
        for count in tries.counts:
            _return_one(session, count)


def note_refusal(tries: Tries, action: Action, target_id: str | None, actor: Actor) -> None:
    """Record that attempts are refused from now on, once until there are tries again: a flood leaves one row."""
    with database.transaction() as session:
        if _is_first_refusal(session, tries):
            audit.record(session, action, target_id, actor, clock.now(), [], outcome=Outcome.THROTTLED)


def _is_first_refusal(session: Session, tries: Tries) -> bool:
    """Tell whether nobody was refused yet since the tries were used up; so once, also for several at the same time."""
    used_up = update(Throttle).where(Throttle.tokens == 0, Throttle.refilled_at > clock.now()).values(tokens=-1)
    marked = [_changed(session.execute(used_up.where(Throttle.key == key))) for key in tries.keys]
    return any(marked)


def _spend_one(session: Session, count: Count, now: datetime) -> bool:
    values = {
        "key": count.key,
        "account": count.account,
        "tries": count.limit.tries,
        "now": now,
        "soon": now + _JUDGED_WITHIN,
        "latest": _latest(count, now),
    }
    return _changed(session.execute(_SPEND, values, execution_options={"preserve_rowcount": True}))


def _latest(count: Count, now: datetime) -> datetime:
    return now + count.limit.period + _CLOCKS_DIFFER


def _is_used_up(session: Session, count: Count, now: datetime) -> bool:
    alive = (Throttle.refilled_at > now, Throttle.refilled_at <= _latest(count, now))
    used_up = select(Throttle.key).where(Throttle.key == count.key, Throttle.tokens <= 0, *alive)
    return session.scalar(used_up) is not None


def _refusal(session: Session, used_up: Iterable[Count], tries: Tries, now: datetime) -> RateLimitExceeded:
    if any(count.limit.closes for count in used_up):
        return AccountClosed()
    latest = select(func.max(Throttle.refilled_at)).where(Throttle.key.in_([count.key for count in used_up]))
    return tries.error(((session.scalar(latest) or now) - now).total_seconds())


def _return_one(session: Session, count: Count) -> None:
    more = case((Throttle.tokens < 0, 1), else_=Throttle.tokens + 1)
    spent = (Throttle.key == count.key, Throttle.tokens < count.limit.tries)
    session.execute(update(Throttle).where(*spent).values(tokens=more))


def _delete(session: Session, condition: Any) -> bool:
    """Delete rows, locked in the order of their keys first; tell whether there were any."""
    found = session.scalars(select(Throttle.key).where(condition).order_by(Throttle.key).with_for_update()).all()
    if found:
        session.execute(delete(Throttle).where(Throttle.key.in_(found)))
    return bool(found)


def _changed(result: Any) -> bool:
    return bool(result.rowcount > 0)
