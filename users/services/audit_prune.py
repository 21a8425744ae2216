"""Pruning the audit trail: what is old is written to a file first, and only what stands there is deleted."""

import json
import os
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from users import clock, ids
from users.actors import Actor
from users.audit import queries, trail
from users.audit.trail import Action
from users.roles import Permission
from users.storage import database, drivers
from users.storage.models import AuditEvent

EVENTS_AT_ONCE = 500  # in one transaction, so that no other writer waits long


def count(before: datetime) -> int:
    """Return how many events there are from before this moment."""
    with database.reading() as session:
        older = AuditEvent.id < ids.before("evt", before)
        return session.scalar(select(func.count()).select_from(AuditEvent).where(older)) or 0


def prune_events(before: datetime, file: Path, *, actor: Actor) -> int:
    """Write the events from before this moment to a new file, then delete those, and return how many they were.

    The first transaction leaves an event about it, which the database asks for (migration 0007). A prune that is
    killed has deleted nothing that is not in its file; the next one, to another file, goes on. Raises Denied to all
    but administrators, FileExistsError, and OSError when the file cannot be written: then nothing is deleted.
    """
    actor.require(*Permission)
    _export(before, file)
    pruned = 0
    with open(file, encoding="ascii") as lines:
        is_first = True
        while found := [json.loads(line)["id"] for line in islice(lines, EVENTS_AT_ONCE)]:
            with database.transaction() as session:
                if is_first:
                    trail.record(session, Action.AUDIT_PRUNE, ids.first("evt", before), actor, clock.now(), [])
                pruned += _delete(session, found)
            is_first = False
    return pruned


def _export(before: datetime, file: Path) -> None:
    """Write the events to `file` and see that they are on disk, or leave no file."""
    with open(file, "x", encoding="ascii", opener=drivers.open_private) as lines:
        try:
            for event in queries.export(until=before):
                lines.write(queries.line(event))
            lines.flush()
            os.fsync(lines.fileno())
        except BaseException:
            file.unlink()
            raise
    folder = os.open(file.parent, os.O_RDONLY)  # where the file's name is
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _delete(session: Session, event_ids: Sequence[str]) -> int:
    """Delete those that are still there; return how many."""
    there = select(AuditEvent.id).where(AuditEvent.id.in_(event_ids)).order_by(AuditEvent.id)
    found = session.scalars(there.with_for_update()).all()  # in order, see `user_purge._forget_some`
    session.execute(delete(AuditEvent).where(AuditEvent.id.in_(found)))
    return len(found)
