"""The pass over a file that comes before its run: every row is read and judged, and nothing is inserted."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from users import clock
from users.bulk import insertion
from users.bulk.duplicates import Duplicates, Seen
from users.bulk.files import reading
from users.bulk.files.layout import Layout
from users.bulk.files.reading import ReadRow
from users.bulk.imports import spool
from users.bulk.insertion import Fate
from users.bulk.judging import Judge
from users.bulk.rows import BadRow, GoodRow
from users.field_errors import FieldError
from users.roles import Permission, Role
from users.storage import database
from users.storage.models import Import

AT_ONCE = 1000  # rows that one query looks up
CHUNK_SECONDS = 2.0
SHOWN = 20  # rows to be created

Judged = tuple[ReadRow, GoodRow | BadRow]


@dataclass
class Reason:
    """Why rows cannot be imported: how many, and the first of them with what is wrong there."""

    number: int
    message: str
    rows: int = 0


@dataclass
class Findings:
    """What was found so far: how many rows, their fates as they would be now, and the hashes that they carry."""

    rows: int = 0
    blank: int = 0
    created: int = 0
    existing: int = 0
    rejected: int = 0
    administrators: int = 0  # rows to be created with a role that may do everything
    names_administrators: bool = False  # a row names that role, whatever its fate is now: it may be another at the run
    passwords: int = 0  # rows to be created with a plain one
    without_password: int = 0  # rows to be created with neither
    makes: Counter[str] = field(default_factory=Counter)
    reasons: dict[tuple[str, str], Reason] = field(default_factory=dict)  # by field and code
    byte_offset: int = 0
    first_created: list[GoodRow] = field(default_factory=list, repr=False)  # a few, to show


class Examination:
    """One pass over the file. `findings` grows with each chunk, and `duplicates` too."""

    def __init__(self, file: BinaryIO, layout: Layout, judge: Judge, *, ask_database: bool) -> None:
        self.layout = layout
        self.findings = Findings()
        self._file = file
        self._judge = judge
        self._ask_database = ask_database
        self._seen = Seen()

    @property
    def duplicates(self) -> Duplicates:
        """Return the rows whose email or id an earlier good row has."""
        return self._seen.first_of()

    def chunks(self) -> Iterator[list[Judged]]:
        """Yield chunks of judged rows, counted already. Raises FileRefused, and Unavailable if it asks the database.

        A row is bad too if an earlier good row has its email, or if the database refuses it at this moment.
        """
        first = self.layout.first.number
        rows = reading.read(self._file, self.layout)
        while chunk := self._judge_some(rows):
            fates = self._look_up(chunk) if self._ask_database else {}
            self._count(chunk, fates)
            last, _ = chunk[-1]
            self.findings.blank = last.row.number - first + 1 - self.findings.rows
            self.findings.byte_offset = last.end.byte_offset
            yield [(row, _after(found, fates)) for row, found in chunk]
        self.findings.blank = rows.blank  # with those after the last row

    def _judge_some(self, rows: Iterable[ReadRow]) -> list[Judged]:
        """Judge the next rows: as many as one query looks up, fewer where a row takes long, as when DNS is asked."""
        chunk, until = [], clock.monotonic() + CHUNK_SECONDS
        for row in rows:
            chunk.append((row, self._fate_in_file(row)))
            if len(chunk) == AT_ONCE or clock.monotonic() > until:
                break
        return chunk

    def _fate_in_file(self, row: ReadRow) -> GoodRow | BadRow:
        found = self._judge.judge(row.row)
        if isinstance(found, GoodRow):
            self._seen.add(found)
            return _unless_duplicate(found, self.duplicates)
        return found

    def _look_up(self, chunk: list[Judged]) -> dict[int, insertion.Result]:
        good = [found for _row, found in chunk if isinstance(found, GoodRow)]
        show = Permission.USERS_READ in self._judge.permissions
        with database.reading() as session:
            results = insertion.look_up(session, good, self._judge.options, show_user_id=show)
        return {one.number: result for one, result in zip(good, results, strict=True) if result}

    def _count(self, chunk: list[Judged], fates: dict[int, insertion.Result]) -> None:
        its = self.findings
        its.rows += len(chunk)
        for row, found in chunk:
            its.names_administrators |= row.row.cells.get("global_role_id") == Role.ADMIN
            if isinstance(found, BadRow):
                self._count_refused(found.number, found.errors)
            elif found.number in fates:
                fate = fates[found.number]
                if fate.fate is Fate.EXISTING:
                    its.existing += 1
                else:
                    self._count_refused(found.number, fate.errors)
            else:
                self._count_created(found)

    def _count_refused(self, number: int, errors: Iterable[FieldError]) -> None:
        self.findings.rejected += 1
        for (field_name, code), message in {(one.field, one.code): one.message for one in errors}.items():
            self.findings.reasons.setdefault((field_name, code), Reason(number, message)).rows += 1

    def _count_created(self, good: GoodRow) -> None:
        self.findings.created += 1
        self.findings.administrators += good.role is Role.ADMIN
        if len(self.findings.first_created) < SHOWN:
            self.findings.first_created.append(good)
        if good.password is not None:
            self.findings.passwords += 1
        elif good.password_hash is None:
            self.findings.without_password += 1
        elif good.password_make:
            self.findings.makes[good.password_make] += 1


def _after(found: GoodRow | BadRow, fates: dict[int, insertion.Result]) -> GoodRow | BadRow:
    fate = fates.get(found.number)
    if isinstance(found, GoodRow) and fate and fate.fate is Fate.REJECTED:
        return BadRow(found.number, fate.errors, found.email.text)
    return found


def judged(rows: Iterable[ReadRow], judge: Judge, duplicates: Duplicates) -> Iterator[Judged]:
    """Yield each row with its judgement by the rules of the file, the one about the same email included."""
    for row in rows:
        found = judge.judge(row.row)
        yield row, _unless_duplicate(found, duplicates) if isinstance(found, GoodRow) else found


def _unless_duplicate(good: GoodRow, duplicates: Duplicates) -> GoodRow | BadRow:
    errors = duplicates.errors(good.number)
    return BadRow(good.number, errors, good.email.text) if errors else good


def keep_duplicates(import_id: str, duplicates: Duplicates) -> None:
    """Keep what an examination found for the run. Raises OSError."""
    with spool.create(import_id, "duplicates") as file:
        duplicates.write(file)
        file.flush()
        os.fsync(file.fileno())  # after a power failure a file of zeros would say that there are none


def duplicates_of(
    job: Import, file: BinaryIO, layout: Layout, judge: Judge, *, on_chunk: Callable[[], None]
) -> Duplicates:
    """Return what was kept. If it is lost, the file is read once more, chunk by chunk. Raises OSError."""
    try:
        with spool.path(job.id, "duplicates").open("rb") as kept:
            return Duplicates.read(kept)
    except (FileNotFoundError, EOFError):
        again = Examination(file, layout, judge, ask_database=False)
        for _chunk in again.chunks():
            on_chunk()
        keep_duplicates(job.id, again.duplicates)
        return again.duplicates
