"""Limits that guard a password: how many tries there are, as rows, exact across processes and restarts.

An attempt is counted before the check, so that 100 parallel requests get at most 10 attempts. It is given back if the
password was right, or was not judged and the request has time left for the database. All tries of a row are back once
its period has passed since the last wrong password, so that no period ever sees more wrong ones than the limit.
What a password counts for is decided in `password_limits`.
"""

import hashlib
import hmac
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, case, delete, select, text, update
from sqlalchemy.orm import Session

from users import clock, settings
from users.actors import Actor
from users.audit import trail
from users.audit.trail import Action, Outcome
from users.errors import AccountLocked, RateLimitExceeded, TooManyWrongPasswords
from users.storage import database
from users.storage.columns import UtcDateTime
from users.storage.models import Throttle


@dataclass(frozen=True)
class Limit:
    """So many `tries`, all back after a `period` without a wrong one."""

    tries: int
    period: timedelta
    closes: bool = False  # for good: the period says only when the row may be forgotten


@dataclass(frozen=True)
class Counter:
    """One row that an attempt is counted in. `account` is the same in all rows that are about one accounter."""

    key: bytes
    limit: Limit
    account: bytes | None = None


@dataclass(frozen=True)
class AttemptCounters:
    """The rows that an attempt is counted in, and the keys of others (`ends`) that a success takes away."""

    counters: tuple[Counter, ...]
    error: type[RateLimitExceeded] = TooManyWrongPasswords
    ends: tuple[bytes, ...] = ()
    is_known: bool = False  # of a browser or network that is known for the account

    def __post_init__(self) -> None:
        # Every transaction that locks several rows does so in the order of their keys: none waits in a circle.
        object.__setattr__(self, "counters", tuple(sorted(self.counters, key=lambda counter: counter.key)))

    @property
    def keys(self) -> list[bytes]:
        """Return the keys of the counted rows."""
        return [counter.key for counter in self.counters]


# Within this time an attempt is judged or given up: hash queue, hash and database. Until then it stays counted.
_JUDGED_WITHIN = timedelta(seconds=30)
# The clocks of two machines may differ by this. A row further ahead than its period plus this is stale: it was written
# before the clock was set back.
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


def require_left(session: Session, tries: AttemptCounters) -> None:
    """Raise `tries.error` or AccountLocked unless a try of every row is left. One read, which locks nothing."""
    now = clock.now()
    rows = {row.key: row.refilled_at for row in session.execute(_used_up(tries.keys, now))}
    used_up = [one for one in tries.counters if one.key in rows and rows[one.key] <= _latest(one, now)]
    if any(counter.limit.closes for counter in used_up):
        raise AccountLocked
    if used_up:
        raise tries.error((max(rows[counter.key] for counter in used_up) - now).total_seconds())


def spend(session: Session, tries: AttemptCounters) -> None:
    """Spend a try of every row, or raise what `require_left` raises; the transaction is then to be rolled back."""
    now = clock.now()
    used_up = tuple(counter for counter in tries.counters if not _spend_one(session, counter, now))
    if used_up:
        require_left(session, replace(tries, counters=used_up))
        raise tries.error(0)  # the time has just passed


def has_left(counter: Counter) -> bool:
    """Tell whether a try of this row is left."""
    now = clock.now()
    with database.reading() as session:
        rows = session.execute(_used_up([counter.key], now)).all()
    return not any(row.refilled_at <= _latest(counter, now) for row in rows)


def note_wrong(session: Session, tries: AttemptCounters) -> None:
    """Let the tries that were spent come back only a whole period from now."""
    now = clock.now()
    for counter in tries.counters:
        earlier = (Throttle.key == counter.key, Throttle.refilled_at < now + counter.limit.period)
        session.execute(update(Throttle).where(*earlier).values(refilled_at=now + counter.limit.period))


def restore(session: Session, tries: AttemptCounters) -> None:
    """After a success: give the account all tries back, and a network the one that was spent.

    A network's other tries stay spent, or the holder of one account could guess at others for ever.
    """
    rows = _locked(session, Throttle.key.in_([*tries.keys, *tries.ends]))
    of_networks = {counter.key: counter for counter in tries.counters if not counter.account}
    _delete(session, rows.keys() - of_networks.keys())
    for key in rows.keys() & of_networks.keys():
        _return_one(session, of_networks[key])


def restore_account(session: Session, account: bytes) -> bool:
    """Give all tries of this account back, from everywhere; tell whether any had been spent."""
    rows = _locked(session, Throttle.account == account)
    _delete(session, rows)
    return bool(rows)


def refuses(account: bytes) -> bool:
    """Tell whether any tries of this account are used up now."""
    used_up = (Throttle.account == account, Throttle.tokens <= 0, Throttle.refilled_at > clock.now())
    with database.reading() as session:
        return session.scalar(select(Throttle.key).where(*used_up).limit(1)) is not None


def give_back(tries: AttemptCounters) -> None:
    """Give back the tries that were spent on an attempt that then was not judged."""
    with database.transaction() as session:
        for counter in tries.counters:
            _return_one(session, counter)


def note_refusal(tries: AttemptCounters, action: Action, target_id: str | None, actor: Actor) -> None:
    """Record that attempts are refused from now on, once until there are tries again: a flood leaves one row."""
    unmarked = _used_up(tries.keys, clock.now()).where(Throttle.tokens == 0)
    with database.reading() as session:
        if not session.execute(unmarked).all():
            return
    with database.transaction() as session:
        if _is_first_refusal(session, tries):
            trail.record(session, action, target_id, actor, clock.now(), [], outcome=Outcome.THROTTLED)


def _is_first_refusal(session: Session, tries: AttemptCounters) -> bool:
    """Tell whether nobody was refused yet since the tries were used up; so once, also for several at the same time."""
    used_up = update(Throttle).where(Throttle.tokens == 0, Throttle.refilled_at > clock.now()).values(tokens=-1)
    marked = [_changed(session.execute(used_up.where(Throttle.key == key))) for key in tries.keys]
    return any(marked)


def _spend_one(session: Session, counter: Counter, now: datetime) -> bool:
    values = {
        "key": counter.key,
        "account": counter.account,
        "tries": counter.limit.tries,
        "now": now,
        "soon": now + _JUDGED_WITHIN,
        "latest": _latest(counter, now),
    }
    return _changed(session.execute(_SPEND, values, execution_options={"preserve_rowcount": True}))


def _latest(counter: Counter, now: datetime) -> datetime:
    return now + counter.limit.period + _CLOCKS_DIFFER


def _used_up(keys: Collection[bytes], now: datetime) -> Select[bytes, datetime]:
    alive = (Throttle.tokens <= 0, Throttle.refilled_at > now)
    return select(Throttle.key, Throttle.refilled_at).where(Throttle.key.in_(keys), *alive)


def _return_one(session: Session, counter: Counter) -> None:
    more = case((Throttle.tokens < 0, 1), else_=Throttle.tokens + 1)
    spent = (Throttle.key == counter.key, Throttle.tokens < counter.limit.tries)
    session.execute(update(Throttle).where(*spent).values(tokens=more))


def _locked(session: Session, condition: ColumnElement[bool]) -> dict[bytes, int]:
    """Return the rows by key, locked in the order of their keys, with the tries that each has left."""
    rows = select(Throttle.key, Throttle.tokens).where(condition).order_by(Throttle.key).with_for_update()
    return {row.key: row.tokens for row in session.execute(rows)}


def _delete(session: Session, keys: Collection[bytes]) -> None:
    if keys:
        session.execute(delete(Throttle).where(Throttle.key.in_(keys)))


def _changed(result: Any) -> bool:
    return bool(result.rowcount > 0)
