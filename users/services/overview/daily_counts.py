"""How many users were created each day, and how many sign-ins succeeded and were refused. Days are those of UTC.

A day that has ended is counted once, by the first request that asks, and kept in a table. A create keeps no counter:
all creates on Postgres would queue for one row.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from flask import current_app
from sqlalchemy import (
    ColumnElement,
    Date,
    Row,
    Select,
    bindparam,
    case,
    func,
    literal_column,
    select,
    text,
    true,
    union_all,
)
from sqlalchemy.orm import InstrumentedAttribute

from users import clock, ids
from users.audit.trail import Action, Outcome
from users.errors import Unavailable
from users.storage import database
from users.storage.deadlines import at_most
from users.storage.lists.paging import Count
from users.storage.models import AuditEvent, DailyCount, User

A_DAY = timedelta(days=1)
DAYS = 30  # with today
COUNTED = 10_000  # users and events of each action of a day that goes on; more are not counted
SETTLED = timedelta(minutes=5)  # after its end: an id is made before its row is committed, and by another host's clock
SECONDS = 1.0  # of a request, after which it begins to count no other day
SECONDS_OF_A_DAY = 2.5  # Postgres counts some 4 million users and events
AGAIN_SECONDS = 60  # after a database that could not count

# A wrong second factor is a refused `session.create` too. The other applications sign in by `user.verify_password`.
SIGN_INS = (Action.SESSION_CREATE, Action.USER_VERIFY_PASSWORD)


@dataclass(frozen=True)
class Day:
    """What is known of a day. A count that is None is not known: the audit trail was pruned before it was counted."""

    day: date
    users_created: Count | None = None
    sign_ins: Count | None = None
    refusals: Count | None = None
    is_counted: bool = False  # False: it will be, by a later request


def recent() -> Sequence[Day]:
    """Return the last DAYS days, oldest first. The last is today. Raises Unavailable.

    Days that have ended and were not counted yet are counted for SECONDS, the newest first. A database that cannot be
    written does not matter: this process remembers the counts.
    """
    now = clock.now()
    today = now.astimezone(UTC).date()
    days = [today - ago * A_DAY for ago in reversed(range(DAYS))]
    ended = [day for day in days if _begin(day) + A_DAY + SETTLED <= now]
    kept = _kept(days[0])
    missing = [day for day in reversed(ended) if day not in kept]
    known = {**kept, **_count_some(missing)} if missing else kept
    return [_ended(day, known) if day in ended else _going_on(day) for day in days]


def _begin(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _kept(since: date) -> dict[date, DailyCount]:
    with database.reading() as session:
        return {one.day: one for one in session.scalars(select(DailyCount).where(DailyCount.day >= since)).all()}


def _ended(day: date, known: Mapping[date, DailyCount]) -> Day:
    found = known.get(day)
    if found is None:
        return Day(day)
    return Day(day, Count(found.users_created), _exactly(found.sign_ins), _exactly(found.refusals), is_counted=True)


def _exactly(number: int | None) -> Count | None:
    return None if number is None else Count(number)


def _going_on(day: date) -> Day:
    found = _read(_SOME, day)
    created = Count(min(found.users, COUNTED), found.users > COUNTED)
    if not _is_whole(found, day):
        return Day(day, created, is_counted=True)
    many = any(getattr(found, action.name) > COUNTED for action in SIGN_INS)
    return Day(day, created, Count(found.sign_ins, many), Count(found.refusals, many), is_counted=True)


def _count_some(days: Iterable[date]) -> Mapping[date, DailyCount]:
    """Return the counts of those of the days that this request has time for, and keep them."""
    remembered: Mapping[date, DailyCount] = current_app.extensions.get("enrol.daily_counts", {})
    started = clock.monotonic()
    if started < current_app.extensions.get("enrol.next_daily_counts", 0):
        return remembered
    counted = {day: remembered[day] for day in days if day in remembered}
    try:
        for day in days:
            if day not in counted and clock.monotonic() - started < SECONDS:
                counted[day] = _count(day)
        _keep(counted.values())
    except Unavailable:  # too many rows for the time, read-only, or another writer holds the lock
        current_app.extensions["enrol.next_daily_counts"] = clock.monotonic() + AGAIN_SECONDS
        current_app.extensions["enrol.daily_counts"] = counted
    return counted


def _count(day: date) -> DailyCount:
    with at_most(SECONDS_OF_A_DAY):
        found = _read(_ALL, day)
    sign_ins, refusals = (found.sign_ins, found.refusals) if _is_whole(found, day) else (None, None)
    return DailyCount(day=day, users_created=found.users, sign_ins=sign_ins, refusals=refusals)


def _keep(counts: Iterable[DailyCount]) -> None:
    """Write the counts. Another request may have written some of them meanwhile."""
    with database.writing(wait=False) as connection:
        connection.execute(_INSERT, [{name: getattr(one, name) for name in _COLUMNS} for one in counts])


def _read(statement: Select[Any], day: date) -> Row[Any]:
    bounds = {"begin": _begin(day), "end": _begin(day) + A_DAY}
    values = {f"{name}_{prefix}": ids.first(prefix, at) for name, at in bounds.items() for prefix in ("usr", "evt")}
    with database.reading() as session:
        return session.execute(statement, values).one()


def _is_whole(found: Row[Any], day: date) -> bool:
    """Tell whether the audit trail still has all events of the day."""
    return found.pruned is None or found.pruned <= ids.first("evt", _begin(day))


def _statement(most: int | None) -> Select[Any]:
    """Return the query for the counts of a day: of all rows, or of at most so many users and events of each action."""
    created = _first(select(User.id).where(*_within(User.id, "usr")), most)
    counted = select(func.count().label("users")).select_from(created.subquery()).subquery()
    events = union_all(*[select(_events(action, most).subquery()) for action in SIGN_INS]).subquery()
    succeeded = events.c.outcome == Outcome.OK
    outcomes = select(
        func.count(case((succeeded, 1))).label("sign_ins"),
        func.count(case((~succeeded, 1))).label("refusals"),
        *[func.count(case((events.c.action == action, 1))).label(action.name) for action in SIGN_INS],
    ).subquery()
    # What a prune deleted: all ids below this one.
    prunes = select(func.max(AuditEvent.target_id.concat("")).label("pruned")).where(_is(Action.AUDIT_PRUNE))
    pruned = prunes.subquery()
    return select(counted, outcomes, pruned).select_from(counted.join(outcomes, true()).join(pruned, true()))


def _events(action: Action, most: int | None) -> Any:
    is_wanted = (_is(action), *_within(AuditEvent.id, "evt"))
    found = select(AuditEvent.action, AuditEvent.outcome).where(*is_wanted)
    return found if most is None else _first(found.order_by(AuditEvent.id.desc()), most)


def _is(action: Action) -> ColumnElement[bool]:
    return AuditEvent.action == bindparam(action.name, str(action), literal_execute=True)


def _first(query: Any, most: int | None) -> Any:
    return query if most is None else query.limit(literal_column(str(most)))


def _within(column: InstrumentedAttribute[str], prefix: str) -> Sequence[ColumnElement[bool]]:
    """Return the conditions that an id is of the day.

    The bounds, the limit and the actions are written into the statement. Once it has prepared one, Postgres makes a
    plan for all values, which took 900 ms for 10,000 of a million rows in place of 9.
    """
    begin: Any = bindparam(f"begin_{prefix}", literal_execute=True)
    end: Any = bindparam(f"end_{prefix}", literal_execute=True)
    return [column >= begin, column < end]


_ALL, _SOME = _statement(None), _statement(COUNTED + 1)
_COLUMNS = DailyCount.__table__.columns.keys()
_INSERT = text(
    f"INSERT INTO daily_counts ({', '.join(_COLUMNS)}) VALUES (:{', :'.join(_COLUMNS)}) ON CONFLICT DO NOTHING"  # noqa: S608  (no value)
).bindparams(bindparam("day", type_=Date))
