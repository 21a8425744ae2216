"""The rows of a file of JSON lines: one object a line, each read as strictly as the body of a request."""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from users.bulk.files.header import ERROR_COLUMNS, simplified
from users.bulk.files.layout import MAX_ROW_BYTES, MAX_ROWS, Place
from users.bulk.files.lines import Unreadable, lines, size_in
from users.bulk.files.refusals import FileTooManyRows
from users.bulk.rows import COLUMNS, ROW
from users.field_errors import FieldError, RowCode
from users.rules import strict_json
from users.rules.field_checks import unknown_fields

# Its number, its text without its end (None if it is too large to be held), and where the next line begins.
Line = tuple[int, str | None, int]
_TOO_MANY_WORDS = 'Two members mean "{column}"'


class BadLine(Exception):
    """A line is no object that can be read."""

    def __init__(self, message: str) -> None:
        super().__init__(RowCode.INVALID_JSON)
        self.error = FieldError(ROW, RowCode.INVALID_JSON, message)


def json_lines(file: BinaryIO, codec: str, start: Place) -> Iterator[Line]:
    """Yield the lines from `start` on, but no blank ones, which only count in the numbers; last an empty one, the end.

    Raises FileRefused.
    """
    offset, number = start
    size = size_in(codec)
    large = 0  # the bytes so far of a line that comes in pieces
    try:
        for some in lines(file, codec, offset):
            if number > 2 * MAX_ROWS:  # blank ones, which take time too
                raise FileTooManyRows
            for line in some:
                length = size(line)
                offset += length
                text = line.strip(" \t\r\n")  # what JSON takes for white space (RFC 8259, section 2)
                if large or (length > MAX_ROW_BYTES and size(line.rstrip("\r\n")) > MAX_ROW_BYTES):
                    large += length
                    if not line.endswith(("\r", "\n")):
                        continue  # the next piece or the end of the file ends it
                    yield number, None, offset
                elif text:
                    yield number, text, offset
                large = 0
                number += 1
    except Unreadable as end:
        raise end.refusal(number) from None
    if large:
        yield number, None, offset
        number += 1
    yield number, "", offset


def members_of(text: str) -> dict[str, Any]:
    """Return the members of the object in `text`. Raises BadLine."""
    try:
        members = strict_json.parse(text)
        if not isinstance(members, dict):
            raise BadLine('The line must be one JSON object, like {"email": "name@example.com"}')
        if "\\" in text or any(isinstance(value, dict | list) for value in members.values()):
            strict_json.check_contents(members)
    except strict_json.NotStrictJson as bad:
        words = f"is not JSON: look at column {bad.column}" if bad.column else bad.words.rstrip(".")
        raise BadLine(f"The line {words}") from None
    return members


def cells_of(
    members: Mapping[str, object], known: Mapping[str, str | None]
) -> tuple[dict[str, object], tuple[FieldError, ...]]:
    """Return the values by our columns, and an error for each member that is not known.

    `known` has our column for each known name, as Layout.members. Raises BadLine if two members mean the same.
    """
    cells: dict[str, object] = {}
    unknown: dict[str, object] = {}
    for name, value in members.items():
        simple = name if name in known else simplified(name)
        if not simple or simple not in known:
            unknown[name] = value
            continue
        column = known[simple]
        if column in cells:
            raise BadLine(_TOO_MANY_WORDS.format(column=column))
        if column:
            cells[column] = value
    return cells, tuple(unknown_fields(unknown, COLUMNS)) if unknown else ()


def is_blank(members: Mapping[str, object]) -> bool:
    """Tell whether an object says nothing of a user: it is empty, or only says what was wrong with another line."""
    return all(simplified(name) in ERROR_COLUMNS for name in members)
