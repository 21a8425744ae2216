"""Files of users, written: the rows that an import rejects, to be mended and imported again, and exports."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import BinaryIO, Literal

from users.bulk.files import encodings, header
from users.bulk.files.formulas import escaped
from users.bulk.files.json_lines import BadLine, members_of
from users.bulk.files.layout import Layout
from users.bulk.files.reading import ReadRow
from users.bulk.rows import BadRow

_JOINED = " · "  # between the errors of a row
_BLANK = ' "\t\r\n'  # what a cell without content is written with
_SECRETS = ("password", "password_hash")


class RejectsWriter:
    """Writes rejected rows as they were, each with its number and errors, so that the same reader reads them again.

    Encoding, byte order mark, delimiter, line ends and columns are those of the file that `layout` is of, with the
    columns `error_row`, `error_code` and `error` after them, or filled anew where the file has them already.
    `without_secrets` leaves the cells of passwords and hashes empty. An open file goes on where it stands.
    """

    def __init__(self, file: BinaryIO, layout: Layout, *, without_secrets: bool) -> None:
        self._file = file
        self._layout = layout
        self._rows = (
            _CsvRejects(layout, without_secrets) if layout.form == "csv" else _JsonRejects(layout, without_secrets)
        )

    def begin(self) -> None:
        """Write what stands before the first row."""
        if self._layout.bom:
            self._file.write(encodings.mark_of(self._layout.encoding))
        self._write(self._rows.header())

    def write(self, row: ReadRow | str, bad: BadRow) -> None:
        """Write a row, or its text as it was read, with its errors."""
        raw = row if isinstance(row, str) else row.raw
        self._write(self._rows.text(raw, _report(bad)))

    def _write(self, text: str) -> None:
        # Only the words of errors may hold what the encoding lacks: the rows came from it.
        self._file.write(text.encode(self._layout.encoding, "replace"))


def _report(bad: BadRow) -> dict[str, str | int]:
    """Return the values of the columns that say what is wrong."""
    codes = _JOINED.join(str(error.code) for error in bad.errors)
    words = _JOINED.join(error.message for error in bad.errors)
    return dict(zip(header.ERROR_COLUMNS, (bad.number, codes, words), strict=True))


class _CsvRejects:
    """Rows of CSV. Each cell stays as it was written, with its quotes or without."""

    def __init__(self, layout: Layout, without_secrets: bool) -> None:
        self._layout = layout
        self._special = _special(layout.delimiter)
        mark = re.escape(layout.delimiter)
        self._cell = re.compile(rf'("[^"]*(?:""[^"]*)*"|[^{mark}]*)(?:{mark}|\Z)')
        self._names = [header.simplified(name) for name in layout.header]
        meant = enumerate(zip(self._names, layout.columns, strict=True))
        self._emptied = {n for n, both in meant if without_secrets and not set(both).isdisjoint(_SECRETS)}
        self._added = [name for name in header.ERROR_COLUMNS if name not in self._names]

    def header(self) -> str:
        """Return the names of the columns."""
        sep = f"sep={self._layout.delimiter}{self._layout.line_end}" if self._layout.sep_line else ""
        return sep + self._line([_quoted(name, self._special) for name in self._layout.header] + self._added)

    def text(self, raw: str, report: Mapping[str, str | int]) -> str:
        """Return the row `raw` with its errors. Cells past the header stay past it."""
        width = len(self._names)
        cells = self._split(raw)
        emptied = set(self._emptied)
        if emptied and any(cell.strip(_BLANK) for cell in cells[width:]):  # a secret may stand right of its column
            emptied.update(range(min(emptied), len(cells)))
        cells += [""] * (width - len(cells))
        words = {name: _quoted(escaped(str(value)), self._special) for name, value in report.items()}
        for n, cell in enumerate(cells):
            name = self._names[n] if n < width else ""
            cells[n] = words.get(name, "" if n in emptied else cell)
        return self._line(cells[:width] + [words[name] for name in self._added] + cells[width:])

    def _split(self, raw: str) -> list[str]:
        """Return the cells of a row as they are written."""
        cells, position = [], 0
        while True:
            found = self._cell.match(raw, position)
            if found is None:  # never: the reader took the row
                raise ValueError("not a row of CSV")
            cells.append(found[1])
            position = found.end()
            if position == found.end(1):  # the row ends here, without a delimiter
                return cells

    def _line(self, cells: Sequence[str]) -> str:
        return self._layout.delimiter.join(cells) + self._layout.line_end


class _JsonRejects:
    """Rows of JSON lines. What is no object follows its errors on a line of its own, as it was."""

    def __init__(self, layout: Layout, without_secrets: bool) -> None:
        self._layout = layout
        self._without_secrets = without_secrets

    def header(self) -> str:
        """Return what stands before the first row: nothing."""
        return ""

    def text(self, raw: str, report: Mapping[str, str | int]) -> str:
        """Return the line `raw` with its errors."""
        try:
            members = members_of(raw)
        except BadLine:
            kept = "" if self._without_secrets or not raw else raw + self._layout.line_end
            return self._line(report) + kept
        if any(self._is_secret(name) or header.simplified(name) in report for name in members):
            theirs = {name: value for name, value in members.items() if header.simplified(name) not in report}
            kept_members = {name: "" if self._is_secret(name) else value for name, value in theirs.items()}
            return self._line({**kept_members, **report})
        return f"{raw.rstrip()[:-1]}{', ' if members else ''}{_json(report)[1:]}{self._layout.line_end}"

    def _is_secret(self, name: str) -> bool:
        simple = header.simplified(name)
        return self._without_secrets and not {simple, self._layout.members.get(simple)}.isdisjoint(_SECRETS)

    def _line(self, members: Mapping[str, object]) -> str:
        return _json(members) + self._layout.line_end


class Export:
    """The bytes of an export in UTF-8: a header and a row for each user, in CSV for spreadsheets or as JSON lines."""

    def __init__(self, form: Literal["csv", "jsonl"], columns: Sequence[str], *, excel: bool) -> None:
        self._form = form
        self._columns = tuple(columns)
        self._mark = encodings.mark_of("utf-8") if excel and form == "csv" else b""
        self._special = _special(",")

    def header(self) -> bytes:
        """Return what stands before the first row; `excel` puts a byte order mark there."""
        return self._mark + self._line(self._columns) if self._form == "csv" else b""

    def row(self, values: Mapping[str, object]) -> bytes:
        """Return the row of a user, of whose `values` the columns are taken."""
        if self._form == "jsonl":
            return f"{_json({name: values[name] for name in self._columns})}\n".encode()
        return self._line([_cell(values[name]) for name in self._columns])

    def _line(self, cells: Sequence[str]) -> bytes:
        return (",".join([_quoted(cell, self._special) for cell in cells]) + "\r\n").encode()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return escaped(str(value))


def _special(delimiter: str) -> re.Pattern[str]:
    """Return what a cell must be quoted for."""
    return re.compile(f'[{re.escape(delimiter)}"\r\n]')


def _quoted(cell: str, special: re.Pattern[str]) -> str:
    return '"' + cell.replace('"', '""') + '"' if special.search(cell) else cell


def _json(members: Mapping[str, object]) -> str:
    return json.dumps(members, ensure_ascii=False)
