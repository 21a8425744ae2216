"""Imports of the command line: begun once the operator has consented, and found again by the same file and options."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from users import clock
from users.actors import Actor, ActorKind
from users.bulk import leases
from users.bulk.imports import made, running, spool
from users.bulk.imports.errors import ImportState
from users.bulk.imports.examination import Examination
from users.bulk.leases import Lease
from users.bulk.options import Options
from users.errors import EnrolError, Unavailable
from users.storage import database
from users.storage.models import Import

_BEGINNING = 0x696D706F7274  # "import", the number of the lock


@dataclass(frozen=True)
class Source:
    """A file to import, and the id that its import gets if it begins."""

    import_id: str
    path: Path
    name: str | None  # None for standard input
    sha256: str
    size: int
    version: running.Version | None  # None for standard input, whose file is Enrol's own


class ImportRuns(EnrolError):
    """Another process imports the same file with the same options."""

    code = "IMPORT_STATE"
    status = 409
    type = "conflict_error"
    system_message = "A process that lives holds the lease of the import"

    def __init__(self, import_id: str) -> None:
        super().__init__()
        self.message = (
            f"Another command imports this file at the moment ({import_id}). Wait for its end, or stop it there with "
            "Ctrl-C. With --restart it is stopped from here, and the import begins anew."
        )


def find_open(source: Source, options: Options) -> Import | None:
    """Return the import of the same file with the same options that has not ended, None without one."""
    with database.reading() as session:
        return _find(session, source, options)


def _find(session: Session, source: Source, options: Options) -> Import | None:
    same = select(Import).where(
        Import.sha256 == source.sha256,
        Import.actor_kind == ActorKind.TERMINAL,
        Import.ended_at.is_(None),
    )
    found = session.scalars(same.order_by(Import.id.desc())).all()
    return next((one for one in found if one.options == options.as_json()), None)


def begin(source: Source, options: Options, examined: Examination, rejects: Path | None, *, actor: Actor) -> Import:
    """Make the import, which waits for its run. Raises ImportRuns if another command was faster, and Unavailable."""
    its, now = examined.findings, clock.now()
    job = Import(
        id=source.import_id,
        state="waiting",
        name=source.name,
        sha256=source.sha256,
        bytes=source.size,
        options=options.as_json(),
        columns=[column for column in examined.layout.columns if column],
        rows_total=its.rows,
        rows_blank=its.blank,
        makes=dict(its.makes),
        passwords=its.passwords,
        rejects_path=str(rejects) if rejects else None,
        actor_kind=actor.kind,
        permissions=sorted(actor.permissions),
        request_id=actor.request_id,
        machine=spool.machine(),
        created_at=now,
        checked_at=now,
    )
    with database.transaction() as session:
        database.advisory_lock(session, _BEGINNING)
        if other := _find(session, source, options):
            raise ImportRuns(other.id)
        session.add(job)
    return job


@contextlib.contextmanager
def lease_of(job: Import) -> Iterator[Lease]:
    """Yield the lease of an import, and give it back at the end. Raises ImportRuns if another process holds it."""
    lease = leases.take(Import, job.id)
    if lease is None:
        raise ImportRuns(job.id)
    try:
        yield lease
    finally:
        with contextlib.suppress(Unavailable):  # it ends by itself
            leases.give_back(lease)


def end_if_stopped(job: Import) -> Import:
    """End an import that was stopped midway, so that it does not go on, and return it as it is now.

    Raises ImportState if a process works on it.
    """
    with database.transaction() as session:
        now = _locked(session, job)
        if now.ended_at is None:
            if not leases.is_free(now.holder, now.lease_until):
                raise ImportState(now.state)
            _give_up(session, now)
    return now


def give_up(job: Import) -> Import:
    """End the import where it stands, and return it. A process that works on it loses the lease. Raises Unavailable."""
    with database.transaction() as session:
        now = _locked(session, job)
        if now.ended_at is None:
            _give_up(session, now)
    return now


def _locked(session: Session, job: Import) -> Import:
    """Return the import as it is now: since `job` was read, another process may have made users."""
    return session.scalars(select(Import).where(Import.id == job.id).with_for_update()).one()


def _give_up(session: Session, job: Import) -> None:
    job.state, job.ended_at, job.holder, job.lease_until = "cancelled", clock.now(), None, None
    made.record(session, job)
