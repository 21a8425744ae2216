"""The run of an import: batch after batch is inserted, each in one transaction with the place in the file behind it.

Whatever is killed, the next run goes on at that place. So each row has one fate, and each user that was made one event
in the audit trail.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import Connection

from users import clock, settings
from users.actors import ActorKind
from users.bulk import insertion, leases
from users.bulk.files import reading
from users.bulk.files.layout import Layout, Place
from users.bulk.files.refusals import FileRefused
from users.bulk.imports import actors, examination, records
from users.bulk.imports.batches import Batch, batches, size_of_batches
from users.bulk.imports.examination import Judged
from users.bulk.imports.hashing import Hashing
from users.bulk.imports.records import ImportCrashed
from users.bulk.imports.rejects import RejectsFile
from users.bulk.insertion import Fate, Result, UserRow
from users.bulk.judging import Judge
from users.bulk.leases import Lease
from users.bulk.options import Options
from users.bulk.rows import BadRow, GoodRow
from users.errors import Denied, EnrolError, Unavailable
from users.roles import Permission
from users.storage import database
from users.storage.models import Import

PATIENCE = 5  # times without a batch, after which a database that cannot be used ends the run
PAUSE_SECONDS = 1.0
COMMITS_OF_A_CHECKPOINT = 8  # each alone writes the same pages of the indexes to the file again
RENEW_SECONDS = 5.0  # of the lease, while a batch waits: its rows or hashes may take longer than the lease lasts


class FileChanged(EnrolError):
    """The file was written to after its rows were counted and its duplicates found."""

    code = "FILE_CHANGED"
    status = 409
    type = "conflict_error"
    message = "The file has changed since it was read first. The users made until then stay. Import the file again"
    system_message = "The size or the time of the file is not that of the start"


Version = tuple[int, int]  # the size of a file, and its time in nanoseconds


@dataclass(frozen=True)
class Doors:
    """What a door gives to a run, and what it is told."""

    file: Path
    rejects: Path | None
    version: Version | None
    keep_secrets: bool
    on_progress: Callable[[Import], None] | None
    on_refused: Callable[[BadRow], None] | None
    should_stop: Callable[[], bool]


def run(
    lease: Lease,
    *,
    file: Path,
    rejects: Path | None,
    job: Import | None = None,
    version: Version | None = None,
    keep_secrets: bool = False,
    on_progress: Callable[[Import], None] | None = None,
    on_refused: Callable[[BadRow], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Import:
    """Insert the rows of a checked import from where it stands, until its end or `should_stop`, and return it.

    Refused rows go to the file `rejects`, with the cells of passwords and hashes only if `keep_secrets`, and to
    `on_refused`. The state is `finished` at the end, `failed` where an error of the file or of the rights ended it, and
    else still `running`. A file of another `version` is refused. A `job` that was loaded already is kept up to date.
    Raises LeaseLost, Unavailable, Overloaded and OSError: the next run goes on.
    """
    job = job or records.load(lease)
    doors = Doors(file, rejects, version, keep_secrets, on_progress, on_refused, should_stop)
    try:
        if lease.crashes >= leases.MOST_CRASHES and job.actor_kind != ActorKind.TERMINAL:
            raise ImportCrashed(details={"row": job.row_number})
        _begin(lease, job)
        _with_patience(_Run(lease, job, doors))
    except (Denied, FileRefused, FileChanged, ImportCrashed) as error:
        records.fail(lease, job, error)
    return job


def _begin(lease: Lease, job: Import) -> None:
    """Note that the import runs, with the counts of the run instead of the check's."""
    values: dict[str, object] = {"state": "running"}
    if job.started_at is None:
        counts = ("rows_done", "created", "existing", "rejected", "byte_offset", "row_number", "rejects_bytes")
        values |= {"started_at": clock.now(), **dict.fromkeys(counts, 0)}
    records.write(lease, job, step_ended=False, **values)


def _with_patience(step: "_Run") -> None:
    """Go on at the last batch that was committed when the database could not be used for a while."""
    failures = 0
    while True:
        before = step.job.rows_done
        try:
            if failures:
                records.reload(step.lease, step.job)
            return step.go_on()
        except Unavailable:
            failures = failures + 1 if step.job.rows_done == before else 1
            if failures >= PATIENCE:
                raise
            time.sleep(PAUSE_SECONDS)


class _Run:
    def __init__(self, lease: Lease, job: Import, doors: Doors) -> None:
        self.lease = lease
        self.job = job
        self._doors = doors
        self._options = Options.from_json(job.options)
        self._size = size_of_batches(on_sqlite=database.sqlite_file() is not None)
        self._held = frozenset[Permission]()
        self._renewed_at = clock.monotonic()
        self._commits = 0

    def go_on(self) -> None:
        """Insert the rows from where the import stands."""
        actor = actors.actor_of(self.job)
        actor.require(Permission.USERS_IMPORT)
        self._held = actor.permissions
        with ExitStack() as stack:
            file = stack.enter_context(self._doors.file.open("rb"))
            layout = reading.look(file, self._options)
            rejects = self._open_rejects(layout)
            if rejects:
                stack.enter_context(rejects)
            hashing = stack.enter_context(Hashing())
            version = self._doors.version or version_of(file)
            for batch in self._batches(file, layout, hashing):
                if self._doors.should_stop():
                    return
                if version_of(file) != version:
                    raise FileChanged
                self._commit(batch, rejects)
        records.end(self.lease, self.job, state="finished", rows_total=self.job.rows_done)

    def _open_rejects(self, layout: Layout) -> RejectsFile | None:
        if self._doors.rejects is None:
            return None
        size, without = self.job.rejects_bytes, not self._doors.keep_secrets
        return RejectsFile(self._doors.rejects, layout, size=size, without_secrets=without)

    def _batches(self, file: BinaryIO, layout: Layout, hashing: Hashing) -> Iterator[Batch]:
        judge = Judge(self._options, settings.current().rules, self._held)
        duplicates = examination.duplicates_of(self.job, file, layout, judge, on_chunk=self._renew_if_time)
        start = Place(self.job.byte_offset, self.job.row_number) if self.job.rows_done else None
        judged = self._in_time(examination.judged(reading.read(file, layout, start), judge, duplicates))
        return batches(judged, self._size, hashing, self._look_up, slots=settings.current().hash_slots)

    def _look_up(self, rows: Sequence[GoodRow]) -> dict[int, Result]:
        show = Permission.USERS_READ in self._held
        with database.reading() as session:
            results = insertion.look_up(session, rows, self._options, show_user_id=show)
        return {row.number: result for row, result in zip(rows, results, strict=True) if result}

    def _commit(self, batch: Batch, rejects: RejectsFile | None) -> None:
        hashes, now = dict(self._hashes_of(batch)), clock.now()
        users = insertion.users_of(batch.good, hashes, now)
        with database.writing(bulk=True) as connection:
            started = clock.monotonic()
            results = batch.known | self._insert(connection, batch, users, now)
            refused = _refused(batch, results)
            size = _write(rejects, batch, refused) if rejects and refused else self.job.rejects_bytes
            values = self._counted(batch, results, refused) | {"rejects_bytes": size}
            leases.renew(connection, self.lease, **values)
        self._renewed_at = clock.monotonic()
        self._size.learn(len(batch.good), clock.monotonic() - started)
        records.note(self.job, values)
        self._tell(batch, refused)
        self._checkpoint_if_time()

    def _in_time(self, rows: Iterable[Judged]) -> Iterator[Judged]:
        """Yield the rows. Each may take long where DNS is asked about its email."""
        for row in rows:
            self._renew_if_time()
            yield row

    def _hashes_of(self, batch: Batch) -> Iterator[tuple[int, str]]:
        for number, hashed in batch.hashes.items():
            yield number, hashed.result()
            self._renew_if_time()

    def _renew_if_time(self) -> None:
        if clock.monotonic() - self._renewed_at > RENEW_SECONDS:
            records.write(self.lease, self.job, step_ended=False)
            self._renewed_at = clock.monotonic()

    def _checkpoint_if_time(self) -> None:
        self._commits += 1
        if self._commits % COMMITS_OF_A_CHECKPOINT == 0:
            with suppress(Unavailable):  # the next one does more, and the next batch tells of a lost database
                database.checkpoint()

    def _insert(
        self, connection: Connection, batch: Batch, users: Sequence[UserRow], now: datetime
    ) -> dict[int, Result]:
        actor = actors.authorize(connection, self.job)
        actor.require(*self._held)  # what was judged with a permission is not made without it
        if not batch.good:
            return {}
        results = insertion.insert(
            connection,
            batch.good,
            users,
            options=self._options,
            actor=actor,
            request_id=self.job.id,
            now=now,
            show_user_id=Permission.USERS_READ in actor.permissions,
        )
        return {row.number: result for row, result in zip(batch.good, results, strict=True)}

    def _counted(self, batch: Batch, results: dict[int, Result], refused: dict[int, BadRow]) -> dict[str, Any]:
        fates = Counter(result.fate for result in results.values())
        return {
            "rows_done": self.job.rows_done + len(batch.rows),
            "created": self.job.created + fates[Fate.CREATED],
            "existing": self.job.existing + fates[Fate.EXISTING],
            "rejected": self.job.rejected + len(refused),
            "byte_offset": batch.end.byte_offset,
            "row_number": batch.end.number,
        }

    def _tell(self, batch: Batch, refused: dict[int, BadRow]) -> None:
        if self._doors.on_refused:
            for one in _in_order(batch, refused):
                self._doors.on_refused(one)
        if self._doors.on_progress:
            self._doors.on_progress(self.job)


def _refused(batch: Batch, results: dict[int, Result]) -> dict[int, BadRow]:
    """Return the refused rows by their numbers: those of the file's rules, and those that the database refused."""
    by_database = {
        number: BadRow(number, result.errors) for number, result in results.items() if result.fate is Fate.REJECTED
    }
    return batch.bad | by_database


def _in_order(batch: Batch, refused: dict[int, BadRow]) -> Iterator[BadRow]:
    return (refused[row.row.number] for row in batch.rows if row.row.number in refused)


def _write(rejects: RejectsFile, batch: Batch, refused: dict[int, BadRow]) -> int:
    for row in batch.rows:
        if row.row.number in refused:
            rejects.write(row, refused[row.row.number])
    return rejects.sync()


def version_of(file: BinaryIO) -> Version:
    """Return what changes when the file is written to or replaced."""
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns
