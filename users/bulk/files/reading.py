"""A file of users, read row by row: from its beginning, or from any place that an earlier reading told."""

from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO, NamedTuple

from users.bulk.files import header
from users.bulk.files.beginning import begin
from users.bulk.files.formulas import unescaped
from users.bulk.files.json_lines import BadLine, cells_of, is_blank, json_lines, members_of
from users.bulk.files.layout import MAX_ROW_BYTES, MAX_ROWS, Layout, Place
from users.bulk.files.records import records
from users.bulk.files.refusals import FileEmpty, FileTooManyRows
from users.bulk.options import Options
from users.bulk.rows import ROW, Row
from users.field_errors import FieldError, RowCode

_TEXTS = ("email", "first_name", "last_name")  # whose cells an export may have escaped
_TOO_LARGE = (FieldError(ROW, RowCode.ROW_TOO_LARGE, f"Row is larger than {MAX_ROW_BYTES // 1024} KiB"),)
_SAMPLED_ROWS = 3


class ReadRow(NamedTuple):
    """A row as it was read."""

    row: Row
    raw: str  # its text as it stood, without its end; "" if it is too large
    end: Place  # where the next row begins

    def __repr__(self) -> str:
        """Return no cell of the row."""
        return f"ReadRow({self.row!r}, end={self.end!r})"


def look(file: BinaryIO, options: Options) -> Layout:
    """Return how `file` is to be read. Only its beginning is read. Raises FileRefused."""
    found = begin(file, options)
    known = header.known_names(options)
    columns: tuple[str | None, ...] = ()
    if found.form == "csv":
        columns = header.columns_of(found.header, found.header_row, options)
    layout = Layout(
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
    next(read(file, layout), None)  # raises FileEmpty if there is no row
    return layout


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

    It is for the page that asks what columns mean, so the names may be unknown. Raises FileRefused.
    """
    found = begin(file, options)
    if found.form == "jsonl":
        return (), []
    width = len(found.header)
    rows = (cells or [] for _, cells, _, _ in records(file, found.encoding, found.delimiter, found.first))
    filled = (cells for cells in rows if any(map(str.strip, cells)))
    return found.header, [(cells + [""] * width)[:width] for cells in islice(filled, _SAMPLED_ROWS)]


def read(file: BinaryIO, layout: Layout, start: Place | None = None) -> Iterator[ReadRow]:
    """Yield the rows of `file` from `start` on, by default all. Blank rows only count in the numbers.

    What is wrong with one row stands in its `errors`. Raises FileRefused for what is wrong with the file.
    """
    rows = (_csv_rows if layout.form == "csv" else _json_rows)(file, layout, start or layout.first)
    last = layout.first.number + MAX_ROWS - 1
    is_empty = start is None
    for row in rows:
        if row.row.number > last:
            raise FileTooManyRows
        is_empty = False
        yield row
    if is_empty:
        raise FileEmpty


def _csv_rows(file: BinaryIO, layout: Layout, start: Place) -> Iterator[ReadRow]:
    names = layout.columns
    width = len(names)
    reports = {n for n, name in enumerate(layout.header) if header.simplified(name) in header.ERROR_COLUMNS}
    for number, values, raw, end in records(file, layout.encoding, layout.delimiter, start):
        place = Place(end, number + 1)
        if values is None:
            yield ReadRow(Row(number, {}, _TOO_LARGE), raw, place)
            continue
        texts = {name: cell for name, cell in zip(names, values, strict=False) if cell and name}
        if all(map(str.isspace, texts.values())) and _is_blank(values, reports):
            continue
        if "'" in raw:
            for name in _TEXTS:
                if name in texts:
                    texts[name] = unescaped(texts[name])
        yield ReadRow(Row(number, texts, _extra(values, width) if len(values) > width else ()), raw, place)


def _is_blank(values: list[str], reports: set[int]) -> bool:
    """Tell whether a row has no cell, but for those that say what was wrong with it."""
    return not any(cell.strip() for n, cell in enumerate(values) if n not in reports)


def _extra(values: list[str], width: int) -> tuple[FieldError, ...]:
    """Return the error of cells past the header, if they are not empty."""
    count = max((n for n, cell in enumerate(values, start=1) if cell.strip()), default=0)
    if count <= width:
        return ()
    return (FieldError(ROW, RowCode.TOO_MANY_CELLS, f"Row has {count} cells, the header {width}"),)


def _json_rows(file: BinaryIO, layout: Layout, start: Place) -> Iterator[ReadRow]:
    for number, text, end in json_lines(file, layout.encoding, start):
        place = Place(end, number + 1)
        if text is None:
            yield ReadRow(Row(number, {}, _TOO_LARGE), "", place)
            continue
        try:
            members = members_of(text)
            cells, errors = cells_of(members, layout.members)
        except BadLine as bad:
            yield ReadRow(Row(number, {}, (bad.error,)), text, place)
            continue
        if cells or errors or not is_blank(members):
            yield ReadRow(Row(number, cells, errors), text, place)
