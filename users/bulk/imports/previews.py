"""What the check of a file has found, as a person reads it: the first users, the refused rows, unknown columns."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO

from users.bulk.files import header, json_lines, reading
from users.bulk.files.layout import Layout
from users.bulk.files.records import records
from users.bulk.files.refusals import FileRefused
from users.bulk.imports import rejects, spool
from users.bulk.options import Options
from users.storage.models import Import

PER_PAGE = 50
MOST_SHOWN = 1000  # refused rows; the others are in the file alone
_NUMBER = header.ERROR_COLUMNS[0]
_JOINED = " · "


@dataclass(frozen=True)
class RefusedRow:
    """A row that cannot be imported, and why."""

    number: str
    email: str
    codes: tuple[str, ...]
    errors: tuple[str, ...]


@dataclass(frozen=True)
class RefusedRows:
    """One page of the refused rows, and the numbers of the pages beside it."""

    rows: list[RefusedRow]
    first: int  # the place of the first row among all that are refused
    newer: int | None
    older: int | None
    most: int = MOST_SHOWN


def preview(job: Import) -> dict[str, Any]:
    """Return what the check kept: the first users as they will be, and what is remarkable. {} if that is gone."""
    try:
        kept: dict[str, Any] = json.loads(spool.path(job.id, spool.PREVIEW).read_bytes())
    except FileNotFoundError:
        return {}
    return kept


def refused_rows(job: Import, number: int) -> RefusedRows | None:
    """Return the page `number` of the refused rows, None if there is none or the file is gone."""
    number = min(max(number, 1), MOST_SHOWN // PER_PAGE)
    first = (number - 1) * PER_PAGE
    found = first_refused(job, first + PER_PAGE + 1)[first:]
    if not found:
        return None
    more = len(found) > PER_PAGE and first + PER_PAGE < MOST_SHOWN
    return RefusedRows(found[:PER_PAGE], first + 1, number - 1 or None, number + 1 if more else None)


def first_refused(job: Import, count: int) -> list[RefusedRow]:
    """Return up to `count` of the refused rows, from the first on; none if the file is gone."""
    try:
        path = spool.path(job.id, spool.REJECTS)
        with path.open("rb") as file:
            # A row that was too large has no cells left but those of its error: to the reader of users it is blank.
            layout = reading.layout_of(file, Options.from_json(job.options))
            return list(islice(_refused(file, layout, rejects.size_of(job, path)), count))
    except (FileNotFoundError, FileRefused):
        return []


def sample(job: Import) -> tuple[tuple[str, ...], list[list[str]]] | None:
    """Return the header of the file and its first three rows, None if the file is not on this host."""
    try:
        with spool.path(job.id, spool.FILE).open("rb") as file:
            return reading.sample(file, Options.from_json(job.options))
    except FileNotFoundError:
        return None


def _refused(file: BinaryIO, layout: Layout, size: int) -> Iterator[RefusedRow]:
    """Yield the rows in the first `size` bytes. Behind them half a row may stand."""
    with contextlib.suppress(FileRefused):
        yield from _of_csv(file, layout, size) if layout.form == "csv" else _of_json_lines(file, layout, size)


def _of_csv(file: BinaryIO, layout: Layout, size: int) -> Iterator[RefusedRow]:
    names = [header.simplified(name) for name in layout.header]
    email = layout.columns.index("email")
    for _, cells, _, end in records(file, layout.encoding, layout.delimiter, layout.first):
        if end > size:
            return
        if cells and len(cells) >= len(names):
            yield _row(cells[email], *(cells[names.index(name)] for name in header.ERROR_COLUMNS))


def _of_json_lines(file: BinaryIO, layout: Layout, size: int) -> Iterator[RefusedRow]:
    """Yield the rows. A line that is no object follows its errors, and is not shown."""
    for _, text, end in json_lines.json_lines(file, layout.encoding, layout.first):
        if end > size:
            return
        members: Mapping[str, Any] = {}
        try:
            members = json_lines.members_of(text or "{}")
        except json_lines.BadLine:
            continue
        if _NUMBER in members:
            email = next((value for name, value in members.items() if layout.members.get(name) == "email"), "")
            reported = (str(members.get(name, "")) for name in header.ERROR_COLUMNS)
            yield _row(email if isinstance(email, str) else "", *reported)


def _row(email: str, number: str, codes: str, words: str) -> RefusedRow:
    return RefusedRow(number, email.strip()[:320], tuple(codes.split(_JOINED)), tuple(words.split(_JOINED)))
