"""Counters of password attempts: database rows, exact across processes and restarts.

An attempt is counted before the check, so 100 parallel requests get at most 10 attempts. It is given back if the
password was right, or if it was not checked and the request has time left for the database. A counter is full again
when its period has passed since the last wrong password, so no period sees more wrong passwords than the limit.
`attempt_limits` decides which counters an attempt uses.
"""

import hashlib
import hmac
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, bindparam, case, delete, select, text, update
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
    """At most `attempts` wrong passwords, until a `period` has passed without one."""

    attempts: int
    period: timedelta
    locks: bool = False  # for good: the period only tells when the row may be deleted


@dataclass(frozen=True)
class Counter:
    """One row that counts an attempt. `account` is the same in all rows that are about one account."""

    key: bytes
    limit: Limit
    account: bytes | None = None


@dataclass(frozen=True)
class AttemptCounters:
    """The counters that an attempt uses, and the keys of other counters (`resets`) that a success deletes."""

    counters: tuple[Counter, ...]
    error: type[RateLimitExceeded] = TooManyWrongPasswords
    resets: tuple[bytes, ...] = ()
    is_known: bool = False  # the browser or network is known for the account

    def __post_init__(self) -> None:
        # Every transaction locks its rows in the order of their keys: no deadlock.
        object.__setattr__(self, "counters", tuple(sorted(self.counters, key=lambda counter: counter.key)))

    @property
    def keys(self) -> list[bytes]:
        """Return the keys of the counters."""
        return [counter.key for counter in self.counters]


# An attempt is checked or given up within this time (hash queue, hash and database). Until then it stays counted.
_CHECKED_WITHIN = timedelta(seconds=30)

# One statement, so both databases do it atomically. It changes no row when no attempt is left.
_IS_STALE = "(throttles.refilled_at <= :now OR throttles.refilled_at > :latest)"
_COUNT = text(f"""
    INSERT INTO throttles (key, account, tokens, refilled_at) VALUES (:key, :account, :attempts - 1, :soon)
    ON CONFLICT (key) DO UPDATE SET
        tokens = CASE WHEN {_IS_STALE} THEN excluded.tokens ELSE throttles.tokens - 1 END,
        refilled_at = CASE WHEN {_IS_STALE} OR throttles.refilled_at < :soon
            THEN excluded.refilled_at ELSE throttles.refilled_at END
    WHERE {_IS_STALE} OR throttles.tokens > 0
""").bindparams(*(bindparam(name, type_=UtcDateTime) for name in ("now", "soon", "latest")))  # noqa: S608  (no input)

_ROWS = Throttle.metadata.tables["throttles"]
# Built once, on the table: on the class the first took a third of the time of a wrong password.
_RESTART = (
    update(_ROWS)
    .where(_ROWS.c.key == bindparam("counted"), _ROWS.c.refilled_at < bindparam("end"))
    .values(refilled_at=bindparam("end"))
)
_GIVE_BACK = (
    update(_ROWS)
    .where(_ROWS.c.key == bindparam("counted"), _ROWS.c.tokens < bindparam("most"))
    .values(tokens=case((_ROWS.c.tokens < 0, 1), else_=_ROWS.c.tokens + 1))
)
_USED_UP = select(_ROWS.c.key, _ROWS.c.refilled_at).where(
    _ROWS.c.key.in_(bindparam("keys", expanding=True)), _ROWS.c.tokens <= 0, _ROWS.c.refilled_at > bindparam("now")
)


def counter_key(counted: str) -> bytes:
    """Return the key of a counter: a keyed hash, because people sometimes type a password as their email."""
    secret = settings.current().secret_key.encode()
    return hmac.digest(secret, counted.encode("utf-8", "surrogatepass"), hashlib.sha256)


def require_attempts_left(session: Session, attempt: AttemptCounters) -> None:
    """Raise `attempt.error` or AccountLocked unless every counter has an attempt left. One read without a lock."""
    now = clock.now()
    rows = {row.key: row.refilled_at for row in session.execute(_USED_UP, {"keys": attempt.keys, "now": now})}
    used_up = [one for one in attempt.counters if one.key in rows and rows[one.key] <= _latest(one, now)]
    if any(counter.limit.locks for counter in used_up):
        raise AccountLocked
    if used_up:
        raise attempt.error((max(rows[counter.key] for counter in used_up) - now).total_seconds())


def count_attempt(session: Session, attempt: AttemptCounters) -> None:
    """Count the attempt in every counter, or raise as `require_attempts_left`: roll back the transaction then."""
    now = clock.now()
    used_up = tuple(counter for counter in attempt.counters if not _count_in(session, counter, now))
    if used_up:
        require_attempts_left(session, replace(attempt, counters=used_up))
        raise attempt.error(0)  # the period has just passed


def has_attempts_left(counter: Counter) -> bool:
    """Tell whether this counter has an attempt left."""
    now = clock.now()
    with database.reading() as session:
        rows = session.execute(_USED_UP, {"keys": [counter.key], "now": now}).all()
    return not any(row.refilled_at <= _latest(counter, now) for row in rows)


def restart_periods(session: Session, attempt: AttemptCounters) -> None:
    """Refill the counters only a whole period from now: the password was wrong."""
    now = clock.now()
    ends = [{"counted": counter.key, "end": now + counter.limit.period} for counter in attempt.counters]
    session.connection().execute(_RESTART, ends)


def reset_after_success(session: Session, attempt: AttemptCounters) -> None:
    """Delete the counters of the account, and give this attempt back to those of the network.

    The other attempts of a network stay counted, or the holder of one account could guess at others for ever.
    """
    rows = _locked(session, Throttle.key.in_([*attempt.keys, *attempt.resets]))
    of_networks = {counter.key: counter for counter in attempt.counters if not counter.account}
    _delete(session, rows.keys() - of_networks.keys())
    _give_back(session, [of_networks[key] for key in rows.keys() & of_networks.keys()])


def reset_accounts(session: Session, accounts: Sequence[bytes]) -> bool:
    """Delete all counters of these accounts; tell whether there were any."""
    keys = session.scalars(_KEYS_OF, {"accounts": accounts}).all()
    _delete(session, keys)
    return bool(keys)


def is_any_used_up(account: bytes) -> bool:
    """Tell whether any counter of this account is used up now."""
    used_up = (Throttle.account == account, Throttle.tokens <= 0, Throttle.refilled_at > clock.now())
    with database.reading() as session:
        return session.scalar(select(Throttle.key).where(*used_up).limit(1)) is not None


def give_back(session: Session, attempt: AttemptCounters) -> None:
    """Give back an attempt that was not checked, or whose password was right while the second factor is to follow."""
    _give_back(session, attempt.counters)


def record_first_refusal(attempt: AttemptCounters, action: Action, target_id: str | None, actor: Actor) -> None:
    """Record in the audit trail the first refusal of a period: a flood of attempts leaves one row."""
    unmarked, values = _USED_UP.where(_ROWS.c.tokens == 0), {"keys": attempt.keys, "now": clock.now()}
    with database.reading() as session:
        if not session.execute(unmarked, values).all():
            return
    with database.transaction() as session:
        if _is_first_refusal(session, attempt):
            trail.record(session, action, target_id, actor, clock.now(), [], outcome=Outcome.THROTTLED)


def _is_first_refusal(session: Session, attempt: AttemptCounters) -> bool:
    """Mark the counters that are used up as refused; tell whether this was the first refusal, also in parallel."""
    used_up = update(Throttle).where(Throttle.tokens == 0, Throttle.refilled_at > clock.now()).values(tokens=-1)
    marked = [_changed(session.execute(used_up.where(Throttle.key == key))) for key in attempt.keys]
    return any(marked)


def _count_in(session: Session, counter: Counter, now: datetime) -> bool:
    values = {
        "key": counter.key,
        "account": counter.account,
        "attempts": counter.limit.attempts,
        "now": now,
        "soon": now + _CHECKED_WITHIN,
        "latest": _latest(counter, now),
    }
    return _changed(session.execute(_COUNT, values, execution_options={"preserve_rowcount": True}))


def _latest(counter: Counter, now: datetime) -> datetime:
    """Return the last time at which a row can be full again. A later one was written before the clock was set back."""
    return now + counter.limit.period + clock.MAY_DIFFER


def _give_back(session: Session, counters: Sequence[Counter]) -> None:
    if counters:
        counted = [{"counted": counter.key, "most": counter.limit.attempts} for counter in counters]
        session.connection().execute(_GIVE_BACK, counted)


def _locked(session: Session, where: ColumnElement[bool]) -> dict[bytes, int]:
    """Return the attempts left by key of the rows, which are locked in the order of their keys."""
    rows = select(Throttle.key, Throttle.tokens).where(where).order_by(Throttle.key).with_for_update()
    return {row.key: row.tokens for row in session.execute(rows)}


# Locked in the same order. Built once, for acts on many users.
_KEYS_OF = (
    select(Throttle.key)
    .where(Throttle.account.in_(bindparam("accounts", expanding=True)))
    .order_by(Throttle.key)
    .with_for_update()
)


def _delete(session: Session, keys: Collection[bytes]) -> None:
    if keys:
        session.execute(delete(Throttle).where(Throttle.key.in_(keys)))


def _changed(result: Any) -> bool:
    return bool(result.rowcount > 0)
