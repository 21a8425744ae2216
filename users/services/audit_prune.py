"""Pruning the audit trail: old events are written to a file, and only events in that file are deleted."""

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
from users.storage import database
from users.storage.models import AuditEvent
from users.storage.private_files import open_private, sync_folder

BATCH_SIZE = 500  # events in one transaction, so that no other writer waits long


def count(before: datetime) -> int:
    """Return how many events there are from before this moment."""
    with database.reading() as session:
        older = AuditEvent.id < ids.first("evt", before)
        return session.scalar(select(func.count()).select_from(AuditEvent).where(older)) or 0


def prune_events(before: datetime, file: Path, *, actor: Actor) -> int:
    """Write the events from before this moment to a new file, then delete them, and return how many there were.

    The first transaction adds an event about the prune: without it the database refuses the deletes (migration 0007).
    A prune that is killed has deleted only events that are in its file; the next prune, to another file, continues.
    Raises Denied to all but administrators, FileExistsError, and OSError if the file cannot be written: then nothing
    is deleted.
    """
    actor.require(*Permission)
    _export(before, file)
    pruned = 0
    with open(file, encoding="ascii") as lines:
        is_first = True
        while found := [json.loads(line)["id"] for line in islice(lines, BATCH_SIZE)]:
            with database.transaction() as session:
                if is_first:
                    trail.record(session, Action.AUDIT_PRUNE, ids.first("evt", before), actor, clock.now(), [])
                pruned += _delete(session, found)
            is_first = False
    return pruned


def _export(before: datetime, file: Path) -> None:
    """Write the events to `file` and force them to disk. After an error there is no file."""
    with open(file, "x", encoding="ascii", opener=open_private) as lines:
        try:
            for event in queries.export(until=before):
                lines.write(queries.line(event))
            lines.flush()
            os.fsync(lines.fileno())
        except BaseException:
            file.unlink()
            raise
    sync_folder(file.parent)


def _delete(session: Session, event_ids: Sequence[str]) -> int:
    """Delete those of the events that still exist; return how many."""
    present = select(AuditEvent.id).where(AuditEvent.id.in_(event_ids)).order_by(AuditEvent.id)
    found = session.scalars(present.with_for_update()).all()  # in order, see `user_purge._erase_some`
    session.execute(delete(AuditEvent).where(AuditEvent.id.in_(found)))
    return len(found)
