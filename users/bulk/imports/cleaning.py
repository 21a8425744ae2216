"""The end of what imports leave: those that are not started expire, and the files of the spool are removed.

The uploaded file goes when its import ends, rejects a week later. A file without an import is one whose upload was cut
short, by a crash of the server too: it goes once no process holds its lock.
"""

import contextlib
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import and_, func, or_, select

from users import clock
from users.actors import ActorKind
from users.bulk.imports import made, spool
from users.storage import database
from users.storage.models import Import

REJECTS_STAY = timedelta(days=7)
COMMAND_WAITS = timedelta(days=7)  # an import of the command line, to be continued
YOUNG_SECONDS = 60.0  # a file that was just made may not have its lock yet
UNLOCKED_SECONDS = 24 * 3600.0  # where the file system knows no locks
_AT_ONCE = 500


def clean() -> None:
    """Let imports expire and remove files. Raises Unavailable; a file that cannot be removed is tried again later."""
    _expire(clock.now())
    with contextlib.suppress(OSError):
        found = spool.files()
        for begin in range(0, len(found), _AT_ONCE):
            some = found[begin : begin + _AT_ONCE]
            imports = _imports({file.stem for file in some})
            for file in some:
                _remove_if_over(file, imports)


def _expire(now: datetime) -> None:
    """End imports that have waited too long for a user."""
    waiting = and_(Import.state.in_(("checked", "columns")), Import.expires_at <= now)
    last_seen = func.coalesce(Import.lease_until, Import.started_at, Import.created_at)
    forgotten = and_(Import.actor_kind == ActorKind.TERMINAL, last_seen <= now - COMMAND_WAITS)
    over = (Import.ended_at.is_(None), or_(waiting, forgotten))
    if database.find(select(Import.id).where(*over).limit(1)) is None:  # most often, and without a lock
        return
    with database.transaction() as session:
        for job in session.scalars(select(Import).where(*over).with_for_update(skip_locked=True)).all():
            job.state, job.ended_at = "expired", now
            job.holder, job.lease_until = None, None
            made.record(session, job)


def _imports(import_ids: set[str]) -> Mapping[str, Any]:
    asked = select(Import.id, Import.actor_kind, Import.ended_at).where(Import.id.in_(import_ids))
    with database.reading() as session:
        return {row.id: row for row in session.execute(asked)}


def _remove_if_over(file: Path, imports: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):
        if _is_over(file, imports.get(file.stem)):
            file.unlink()


def _is_over(file: Path, job: Any) -> bool:
    is_upload = file.suffix == f".{spool.FILE}"
    if job is not None and job.ended_at is not None:
        stays = REJECTS_STAY if file.suffix == f".{spool.REJECTS}" else timedelta(0)
        return bool(job.ended_at + stays <= clock.now())
    if job is not None and not (is_upload and job.actor_kind == ActorKind.TERMINAL):
        return False
    # It belongs to no import, or is the standard input of a command, which spools it again to go on.
    return _is_abandoned(file) and (job is not None or file.stem not in _imports({file.stem}))


def _is_abandoned(file: Path) -> bool:
    age = time.time() - file.stat().st_mtime
    try:
        return age > YOUNG_SECONDS and not spool.is_locked(file)
    except OSError:
        return age > UNLOCKED_SECONDS
