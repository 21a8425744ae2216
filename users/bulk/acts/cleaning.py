"""The end of what acts on many users leave: the report goes a week after the act, and an act that was not started."""

import time
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, exists, or_, select

from users import clock
from users.bulk.acts.jobs import KEPT
from users.storage import database
from users.storage.models import BulkAct, BulkActUser

_AT_ONCE = 500  # lines in one transaction
_PAUSE_SECONDS = 0.05  # between two transactions, for other writers


def clean() -> None:
    """Remove old reports and acts that were not started in time. Raises Unavailable."""
    while found := _find():
        with database.writing(wait=False) as connection:
            lines: Any = BulkActUser.__table__
            first = [found.position, found.position + _AT_ONCE]
            connection.execute(delete(lines).where(lines.c.act_id == found.act_id, lines.c.position.between(*first)))
        time.sleep(_PAUSE_SECONDS)
    without_lines = ~exists().where(BulkActUser.act_id == BulkAct.id)
    empty = and_(_was_not_started(), without_lines)
    if database.find(select(BulkAct.id).where(empty).limit(1)) is not None:
        with database.writing(wait=False) as connection:
            connection.execute(delete(BulkAct.metadata.tables["bulk_acts"]).where(empty))


def _find() -> Any:
    """Return the first line of a report that is over, None if there is none."""
    is_old = BulkAct.ended_at <= clock.now() - KEPT
    lines = select(BulkActUser.act_id, BulkActUser.position).join(BulkAct, BulkAct.id == BulkActUser.act_id)
    over = lines.where(or_(is_old, _was_not_started()))
    return database.find(over.order_by(BulkActUser.act_id, BulkActUser.position).limit(1))


def _was_not_started() -> ColumnElement[bool]:
    return BulkAct.expires_at <= clock.now()
