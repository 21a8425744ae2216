"""The list of API keys, those that have ended apart from the others, and which key took the place of which."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Row, case, func, select

from users import clock
from users.audit.trail import Action
from users.auth import key_states
from users.services import api_keys
from users.storage import database
from users.storage.lists import paging
from users.storage.lists.paging import Count, Page
from users.storage.models import ApiKey, AuditEvent

CURRENT, ENDED = "current", "ended"
SHOWN = (CURRENT, ENDED)
PAGE_SIZE = 50
READ = 5_000  # keys at most for a page and for the counts: no index tells which have ended
_EVENTS = 1_000  # at most, for the rolls of one page


class KeyName(NamedTuple):
    """What a link to a key shows."""

    id: str
    name: str
    prefix: str


@dataclass(frozen=True)
class Rolls:
    """Of some keys, by id: the newest key in the place of each, and the key whose place each took."""

    successors: Mapping[str, KeyName]
    predecessors: Mapping[str, KeyName]


def find(
    shown: str = CURRENT, *, before: str | None = None, after: str | None = None
) -> tuple[Page[ApiKey], Mapping[str, Count]]:
    """Return a page of the keys that `shown` names, newest first, and the counts for each of SHOWN.

    It is the newest page, or the one next to the id `before` or `after`. The order is that of the ids, which have an
    index; an id is made when the form for a key is opened. At most READ keys are read: a page may then have few rows or
    none, and the next one goes on behind them; the counts are those among the READ newest keys.
    """
    has_ended = key_states.has_ended(clock.now())
    wanted = [has_ended if shown == ENDED else ~has_ended]
    last_read = _last_read(before, after)
    if last_read:
        wanted.append(ApiKey.id <= last_read if after else ApiKey.id >= last_read)
    page = paging.newest(ApiKey, *wanted, before=before, after=after, limit=PAGE_SIZE)
    if last_read and after:
        page = replace(page, newer=page.newer or last_read)
    elif last_read:
        page = replace(page, older=page.older or last_read)
    return page, _counts()


def _last_read(before: str | None, after: str | None) -> str | None:
    """Return the last id that is read from this place on, None if all keys are read."""
    query = select(ApiKey.id).order_by(ApiKey.id if after else ApiKey.id.desc()).offset(READ - 1).limit(2)
    if after or before:
        query = query.where(ApiKey.id > after if after else ApiKey.id < before)
    with database.reading() as session:
        found = session.scalars(query).all()
    return found[0] if len(found) > 1 else None


def _counts() -> Mapping[str, Count]:
    has_ended = key_states.has_ended(clock.now()).label("has_ended")
    by_age = select(ApiKey.id).order_by(ApiKey.id.desc())
    newest = by_age.with_only_columns(has_ended).limit(READ).subquery()
    more = by_age.offset(READ).limit(1).exists()
    query = select(func.count(), func.count(case((newest.c.has_ended, 1))), more).select_from(newest)
    with database.reading() as session:
        number, ended, many = session.execute(query).one()
    return {CURRENT: Count(number - ended, many), ENDED: Count(ended, many)}


def rolls_of(keys: Sequence[ApiKey]) -> Rolls:
    """Return the rolls of these keys, as far as the audit trail reaches back.

    A roll writes two events with one request id and one time: the new key is created, and the old one is rolled.
    """
    known = {key.id for key in keys}
    here = _events(AuditEvent.target_id.in_(known))
    events = _events(AuditEvent.request_id.in_({event.request_id for event in here}))
    created = {(one.request_id, one.at): one.target_id for one in events if one.action == Action.KEY_CREATE}
    rolled = [one for one in sorted(events, key=lambda one: one.id) if one.action == Action.KEY_ROLL]
    pairs = [(one.target_id, created.get((one.request_id, one.at))) for one in rolled]
    labels = api_keys.labels_of(one for pair in pairs for one in pair)
    names = {key_id: KeyName(key_id, *label) for key_id, label in labels.items()}
    return Rolls(
        {old: names[new] for old, new in pairs if old in known and new in names},
        {new: names[old] for old, new in pairs if new in known and old in names},
    )


def _events(wanted: ColumnElement[bool]) -> Sequence[Row[str, datetime, str, str | None, str | None]]:
    """Return some creations and rolls of keys. Each is found by the index of `wanted`, not by that of the actions."""
    acts = AuditEvent.action.concat("").in_([Action.KEY_CREATE, Action.KEY_ROLL])
    columns = (AuditEvent.id, AuditEvent.at, AuditEvent.action, AuditEvent.target_id, AuditEvent.request_id)
    with database.reading() as session:
        return session.execute(select(*columns).where(wanted, acts).limit(_EVENTS)).all()
