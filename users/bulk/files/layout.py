"""What is known of a file of users once its beginning is read, and the bounds of such files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

MAX_ROWS = 5_000_000
MAX_ROW_BYTES = 64 * 1024
MAX_COLUMNS = 64
MAX_NAME_LENGTH = 64  # of a column in the header, in characters


class Place(NamedTuple):
    """Where a row begins: the byte of the file, and the number that the row has."""

    byte_offset: int
    number: int


@dataclass(frozen=True)
class Layout:
    """How a file is to be read. The same file with the same options has the same layout."""

    form: Literal["csv", "jsonl"]
    encoding: str  # a Python codec that reads and writes no byte order mark
    delimiter: str  # "" for JSON lines
    header: tuple[str, ...]  # as it stands in the file; () for JSON lines
    columns: tuple[str | None, ...]  # our column for each name of the header; None for one that is not used
    notices: tuple[str, ...]  # for people, such as a column that is not used
    first: Place  # the row after the header
    bom: bool  # the file begins with a byte order mark
    sep_line: bool  # its first line is `sep=`
    line_end: str  # of its first row
    members: Mapping[str, str | None] = field(default_factory=dict)  # for JSON lines: our column for each known name
