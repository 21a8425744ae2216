"""A file of users, read row by row: from its beginning, or from any place that an earlier reading told."""

from collections.abc import Generator, Iterator
from contextlib import suppress
from itertools import islice
from typing import BinaryIO, NamedTuple

from users.bulk.files import header
from users.bulk.files.beginning import begin
from users.bulk.files.formulas import unescaped
from users.bulk.files.json_lines import BadLine, cells_of, is_blank, json_lines, members_of
from users.bulk.files.layout import MAX_ROW_BYTES, MAX_ROWS, Layout, Place
from users.bulk.files.records import records
from users.bulk.files.refusals import FileEmpty, FileRefused, FileTooManyRows
from users.bulk.options import Options
from users.bulk.rows import ROW, Row
from users.field_errors import FieldError, RowCode

_TEXTS = ("email", "first_name", "last_name")  # whose cells an export may have escaped
_TOO_LARGE: tuple[FieldError, ...] = (
    FieldError(ROW, RowCode.ROW_TOO_LARGE, f"Row is larger than {MAX_ROW_BYTES // 1024} KiB"),
)
_SAMPLED_ROWS = 3
_Walk = Generator["ReadRow", None, tuple[int, int]]  # returns how many rows there were, and the number after the last


class ReadRow(NamedTuple):
    """A row as it was read."""

    row: Row
    raw: str  # its text as it stood, without its end; "" if it is too large
    end: Place  # where the next row begins

    def __repr__(self) -> str:
        """Return no cell of the row."""
        return f"ReadRow({self.row!r}, end={self.end!r})"


def look(file: BinaryIO, options: Options) -> Layout:
    """Return how `file` is to be read. Only its beginning is read. Raises FileRefused, also if it has no row."""
    layout = layout_of(file, options)
    next(read(file, layout), None)  # raises FileEmpty if there is no row
    return layout


def layout_of(file: BinaryIO, options: Options) -> Layout:
    """Return how `file` is to be read, whether there are rows after its header or not. Raises FileRefused."""
    found = begin(file, options)
    known = header.known_names(options)
    columns: tuple[str | None, ...] = ()
    if found.form == "csv":
        columns = header.columns_of(found.header, found.header_row, options)
    return Layout(
        form=found.form,
        encoding=found.encoding,
        delimiter=found.delimiter,
        header=found.header,
        columns=columns,
        notices=header.notices_of(_names(file, found.form, found.header, found.encoding, found.first), known, options),
        first=found.first,
        bom=found.bom,
        sep_line=found.sep_line,
        line_end=found.line_end,
        members={} if found.form == "csv" else known,
    )


def _names(file: BinaryIO, form: str, names: tuple[str, ...], encoding: str, first: Place) -> tuple[str, ...]:
    """Return the names in the header; of JSON lines those of the first object."""
    if form == "csv":
        return names
    try:
        return next((tuple(members_of(text)) for _, text, _ in json_lines(file, encoding, first) if text), ())
    except BadLine:
        return ()


def sample(file: BinaryIO, options: Options) -> tuple[tuple[str, ...], list[list[str]]]:
    """Return the header of a CSV file and the cells of its first three rows; of JSON lines nothing.

    It is for the page that asks what columns mean, so the names may be unknown, and rows after a malformed one are left
    out. Raises FileRefused.
    """
    found = begin(file, options)
    if found.form == "jsonl":
        return (), []
    width = len(found.header)
    rows: list[list[str]] = []
    with suppress(FileRefused):
        read = records(file, found.encoding, found.delimiter, found.first, refuse_large=True)
        filled = (cells for _, cells, _, _ in read if cells and any(map(str.strip, cells)))
        rows.extend((cells + [""] * width)[:width] for cells in islice(filled, _SAMPLED_ROWS))
    return found.header, rows


def read(file: BinaryIO, layout: Layout, start: Place | None = None) -> "Rows":
    """Return the rows of `file` from `start` on, by default all.

    What is wrong with one row stands in its `errors`. The iterator raises FileRefused for what is wrong with the file.
    """
    return Rows(file, layout, start)


class Rows(Iterator[ReadRow]):
    """The rows of a file, but no blank ones, which only count in the numbers; at its end `blank` tells how many."""

    def __init__(self, file: BinaryIO, layout: Layout, start: Place | None) -> None:
        self.blank = 0
        self._file = file
        self._layout = layout
        self._start = start or layout.first
        self._is_whole = start is None
        self._last = layout.first.number + MAX_ROWS - 1
        self._rows = self._walk()

    def __iter__(self) -> Iterator[ReadRow]:
        return self._rows

    def __next__(self) -> ReadRow:
        return next(self._rows)

    def _walk(self) -> Iterator[ReadRow]:
        count, end = yield from self._csv_rows() if self._layout.form == "csv" else self._json_rows()
        self.blank = end - self._start.number - count
        if self._is_whole and not count:
            raise FileEmpty

    def _csv_rows(self) -> _Walk:
        names, count, number = self._layout.columns, 0, 0
        width = len(names)
        reports = {n for n, name in enumerate(self._layout.header) if header.simplified(name) in header.ERROR_COLUMNS}
        for number, values, raw, end in records(self._file, self._layout.encoding, self._layout.delimiter, self._start):
            errors = _TOO_LARGE
            texts: dict[str, str] = {}
            if values is not None:
                texts = {name: cell for name, cell in zip(names, values, strict=False) if cell and name}
                if all(map(str.isspace, texts.values())) and _is_blank(values, reports):
                    continue
                errors = _extra(values, width) if len(values) > width else ()
                if "'" in raw:
                    texts.update({name: unescaped(texts[name]) for name in _TEXTS if name in texts})
            if number > self._last:
                raise FileTooManyRows
            count += 1
            yield ReadRow(Row(number, texts, errors), raw, Place(end, number + 1))
        return count, number

    def _json_rows(self) -> _Walk:
        count, number = 0, 0
        for number, text, end in json_lines(self._file, self._layout.encoding, self._start):
            row = Row(number, {}, _TOO_LARGE) if text is None else _json_row(number, text, self._layout)
            if row is None:
                continue
            if number > self._last:
                raise FileTooManyRows
            count += 1
            yield ReadRow(row, text or "", Place(end, number + 1))
        return count, number


def _json_row(number: int, text: str, layout: Layout) -> Row | None:
    """Return the row that `text` says, None if it is blank."""
    try:
        members = members_of(text) if text else {}
        cells, errors = cells_of(members, layout.members)
    except BadLine as bad:
        return Row(number, {}, (bad.error,))
    return Row(number, cells, errors) if cells or errors or not is_blank(members) else None


def _is_blank(values: list[str], reports: set[int]) -> bool:
    """Tell whether a row has no cell, but for those that say what was wrong with it."""
    return not any(cell.strip() for n, cell in enumerate(values) if n not in reports)


def _extra(values: list[str], width: int) -> tuple[FieldError, ...]:
    """Return the error of cells past the header, if they are not empty."""
    count = max((n for n, cell in enumerate(values, start=1) if cell.strip()), default=0)
    if count <= width:
        return ()
    return (FieldError(ROW, RowCode.TOO_MANY_CELLS, f"Row has {count} cells, the header {width}"),)
