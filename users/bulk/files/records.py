"""The rows of a CSV file as lists of cells, each with the byte where it ends (RFC 4180, read strictly)."""

import csv
import re
from collections.abc import Iterator
from enum import Enum, auto
from typing import TYPE_CHECKING, BinaryIO

from users.bulk.files.layout import MAX_ROW_BYTES, MAX_ROWS, Place
from users.bulk.files.lines import Unreadable, lines, size_in
from users.bulk.files.refusals import FileTooManyRows, header_too_large, never_closed, text_after_quote

if TYPE_CHECKING:
    from _csv import Dialect  # of which `csv` shows only the class that names are registered with

_MOST = 2 * MAX_ROWS  # rows, blank ones too: a file of blank rows alone would take minutes
# What a quoted cell holds. Nothing that was taken is given back, so a match takes linear time.
_QUOTED = re.compile(r'[^"]*+(?:""[^"]*+)*+')

# Its number, its cells (None if it is too large to be held), its text without its end, and where the next row begins.
Record = tuple[int, list[str] | None, str, int]


def records(
    file: BinaryIO, codec: str, delimiter: str, start: Place, *, refuse_large: bool = False
) -> Iterator[Record]:
    """Yield the rows from `start` on, but no empty lines, which only count in the numbers; last an empty row, the end.

    Raises FileRefused for what is no CSV or not of the encoding, with the number of its row; with `refuse_large`, for
    a header, also for a row that is too large, whose end is then not looked for.
    """
    offset, number = start
    size = size_in(codec)
    dialect = csv.reader((), delimiter=delimiter, strict=True).dialect  # made once: it costs more than a row
    open_row: _OpenRow | None = None
    try:
        for some in lines(file, codec, offset):
            if number > _MOST:
                raise FileTooManyRows
            for line in some:
                length = size(line)
                offset += length
                if open_row is None and length <= MAX_ROW_BYTES:
                    cells = _cells(line, delimiter, dialect)
                    if cells is not None:
                        raw = line.rstrip("\r\n")
                        if raw and not raw.isspace():
                            yield number, cells, raw, offset
                        number += 1
                        continue
                open_row = open_row or _OpenRow(number, dialect)
                open_row.add(line, length)
                if refuse_large and open_row.is_large:
                    raise header_too_large(number)
                if open_row.is_whole:
                    yield number, *open_row.content(), offset
                    number += 1
                    open_row = None
    except Unreadable as end:
        raise end.refusal(number) from None
    if open_row:
        open_row.end()
        yield number, *open_row.content(), offset
        number += 1
    yield number, [], "", offset


def _cells(line: str, delimiter: str, dialect: "Dialect") -> list[str] | None:
    """Return the cells of a row of one line, None if it needs a closer look."""
    if '"' not in line:
        return line.rstrip("\r\n").split(delimiter)
    try:
        return next(csv.reader((line,), dialect))
    except csv.Error:
        return None


class _At(Enum):
    """Where in a row its text so far ends."""

    START = auto()  # of a cell
    PLAIN = auto()  # in a cell without quotes, in which a quote is a character like others
    QUOTED = auto()
    CLOSING = auto()  # after a quote in a quoted cell, which ends the cell or is the first of two


class _OpenRow:
    """A row of several lines, or of pieces of one, as far as it was read. What is too large is not kept."""

    def __init__(self, number: int, dialect: "Dialect") -> None:
        self.is_whole = False
        self._number = number
        self._dialect = dialect
        self._delimiter = dialect.delimiter
        mark = re.escape(dialect.delimiter)
        self._cells = re.compile(rf'(?:(?:"{_QUOTED.pattern}"|[^"{mark}][^{mark}]*+|){mark})*+')  # whole ones
        self._at = _At.START
        self._parts: list[str] = []
        self._size = 0
        self.is_large = False

    def add(self, line: str, size: int) -> None:
        """Take the next line or piece. Raises FileMalformed."""
        text = line.rstrip("\r\n")
        self._at = self._after(text)
        self.is_whole = len(text) < len(line) and self._at is not _At.QUOTED
        self._size += size - (len(line) - len(text) if self.is_whole else 0)
        if self._size > MAX_ROW_BYTES:
            self.is_large = True
            self._parts.clear()
        else:
            self._parts.append(line)

    def end(self) -> None:
        """Take the end of the file. Raises FileMalformed."""
        if self._at is _At.QUOTED:
            raise never_closed(self._number)

    def content(self) -> tuple[list[str] | None, str]:
        """Return the cells and the text of the row, (None, "") if it is too large."""
        if self.is_large:
            return None, ""
        return next(csv.reader(self._parts, self._dialect)), "".join(self._parts).rstrip("\r\n")

    def _after(self, text: str) -> _At:
        """Return where the row is after `text`."""
        if '"' not in text and self._at is not _At.CLOSING:  # a long cell costs no look at each of its characters
            if self._at is _At.QUOTED or not text:
                return self._at
            return _At.START if text.endswith(self._delimiter) else _At.PLAIN
        at, position = self._at, 0
        while position < len(text):
            at, position = self._step(at, text, position)
        return at

    def _step(self, at: _At, text: str, position: int) -> tuple[_At, int]:
        """Return where the row is after one more piece of it, and the position after that piece."""
        if at is _At.CLOSING:
            if text[position] == '"':
                return _At.QUOTED, position + 1
            if text[position] == self._delimiter:
                return _At.START, position + 1
            raise text_after_quote(self._number)
        if at is _At.QUOTED:
            end = _end(_QUOTED, text, position)
            return (_At.CLOSING, end + 1) if end < len(text) else (_At.QUOTED, end)
        if at is _At.START:
            end = _end(self._cells, text, position)
            if end > position:
                return _At.START, end
            if text[position] == '"':
                return _At.QUOTED, position + 1
        end = text.find(self._delimiter, position)
        return (_At.START, end + 1) if end >= 0 else (_At.PLAIN, len(text))


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    """Return where a pattern ends that matches anywhere, if only nothing."""
    found = pattern.match(text, position)
    return found.end() if found else position
