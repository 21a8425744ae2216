"""Files of users for the tests of reading and writing them."""

import io
from collections.abc import Iterator
from typing import Any, BinaryIO

from users.bulk.files.layout import Layout
from users.bulk.files.reading import ReadRow, look, read
from users.bulk.files.writing import RejectsWriter
from users.bulk.options import Options
from users.bulk.rows import BadRow
from users.field_errors import FieldError, RowCode

PLAIN = Options()
ERROR = FieldError("email", RowCode.DUPLICATE_IN_FILE, "The same email address stands in row 2")


def rows_of(content: bytes, options: Options = PLAIN) -> list[ReadRow]:
    """Return all rows of a file. Raises FileRefused."""
    return list(rows_from(io.BytesIO(content), options))


def rows_from(file: BinaryIO, options: Options = PLAIN) -> Iterator[ReadRow]:
    """Yield the rows of an open file."""
    yield from read(file, look(file, options))


def cells_of(content: bytes, options: Options = PLAIN) -> list[dict[str, object]]:
    """Return the cells of all rows, by our columns."""
    return [dict(row.row.cells) for row in rows_of(content, options)]


def codes_of(content: bytes, options: Options = PLAIN) -> list[list[str]]:
    """Return the codes of the errors that each row has as a whole."""
    return [[str(error.code) for error in row.row.errors] for row in rows_of(content, options)]


def rejects_of(content: bytes, options: Options = PLAIN, *, without_secrets: bool = False) -> bytes:
    """Return the file of rejected rows if each row of a file is rejected, by ERROR where it has none of its own."""
    file, made = io.BytesIO(content), io.BytesIO()
    layout: Layout = look(file, options)
    writer = RejectsWriter(made, layout, without_secrets=without_secrets)
    writer.begin()
    for row in read(file, layout):
        writer.write(row, BadRow(row.row.number, row.row.errors or (ERROR,)))
    return made.getvalue()


class Repeated(io.RawIOBase):
    """A file that holds `unit` many times between `head` and `tail`, and is nowhere as a whole."""

    def __init__(self, head: bytes, unit: bytes, count: int, tail: bytes = b"") -> None:
        self._head, self._tail, self._at = head, tail, 0
        self._many = unit * max(1, 65_536 // len(unit))  # of which it is made faster
        self._middle = len(head) + len(unit) * count
        self.size = self._middle + len(tail)

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        assert whence == io.SEEK_SET
        self._at = offset
        return offset

    def readinto(self, buffer: Any) -> int:
        if self._at < len(self._head):
            part = self._head[self._at :]
        elif self._at < self._middle:
            start = (self._at - len(self._head)) % len(self._many)
            part = self._many[start : start + self._middle - self._at]
        else:
            part = self._tail[self._at - self._middle :]
        part = part[: len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)
