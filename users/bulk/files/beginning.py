"""The beginning of a file: what tells its format, its encoding and its delimiter, and where its header ends."""

import re
from dataclasses import dataclass
from typing import BinaryIO, Literal

from users.bulk.files import encodings
from users.bulk.files.header import known_names, simplified
from users.bulk.files.layout import MAX_ROWS, Place
from users.bulk.files.lines import Unreadable, lines, size_in
from users.bulk.files.records import records
from users.bulk.files.refusals import FileEmpty, FileFormatUnsupported, FileRefused, FileTooManyRows
from users.bulk.options import Options

DELIMITERS = ",;\t|"
_MAGIC = (
    (b"%PDF-", "pdf"),
    (b"\x1f\x8b", "gzip"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "xls"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),  # without a file in it
)
_MAGIC_BYTES = 4096
_SEP = re.compile(r'"?sep=([^"\r\n])"?\s*', re.IGNORECASE)
_JSON_ARRAY = re.compile(r"\[\s*(\{|$)")


@dataclass(frozen=True)
class Beginning:
    """What the beginning of a file says, before anybody asks what its columns mean."""

    form: Literal["csv", "jsonl"]
    encoding: str
    bom: bool
    delimiter: str
    sep_line: bool
    line_end: str
    header: tuple[str, ...]
    header_row: int  # 0 for JSON lines
    first: Place


@dataclass(frozen=True)
class _FirstLine:
    """The first line that is not blank."""

    text: str
    place: Place
    end: int  # the byte after it


def begin(file: BinaryIO, options: Options) -> Beginning:
    """Return what the beginning of `file` says. Raises FileRefused."""
    file.seek(0)
    magic = file.read(_MAGIC_BYTES)
    _check_format(magic)
    codec, mark = encodings.detect(magic, options.encoding)
    line = _first_line(file, codec, mark)
    text = line.text.strip().lstrip("\ufeff")
    line_end = line.text[len(line.text.rstrip("\r\n")) :]
    if text.startswith("{"):
        return Beginning("jsonl", codec, mark > 0, "", False, line_end or "\n", (), 0, Place(mark, 1))
    if _JSON_ARRAY.match(text):
        raise FileFormatUnsupported("json")
    sep = _SEP.fullmatch(line.text.strip("\r\n"))
    if sep:
        start, delimiter = Place(line.end, line.place.number), sep[1]
    else:
        start, delimiter = line.place, _delimiter(file, codec, line.place, options)
    row, header, end = _header(file, codec, delimiter, start)
    if row < 0:
        raise FileEmpty
    return Beginning(
        "csv", codec, mark > 0, delimiter, sep is not None, line_end or "\r\n", header, row, Place(end, row + 1)
    )


def _check_format(magic: bytes) -> None:
    """Raise FileFormatUnsupported if the file begins as none of text does."""
    found = next((name for mark, name in _MAGIC if magic.startswith(mark)), None)
    if found == "zip" and b"opendocument.spreadsheet" in magic:
        found = "ods"
    elif found == "zip" and (b"[Content_Types].xml" in magic or b"xl/" in magic):
        found = "xlsx"
    if found:
        raise FileFormatUnsupported(found)


def _first_line(file: BinaryIO, codec: str, offset: int) -> _FirstLine:
    number, size = 1, size_in(codec)
    try:
        for some in lines(file, codec, offset):
            if number > MAX_ROWS:
                raise FileTooManyRows
            for line in some:
                end = offset + size(line)
                if line.strip().strip("\ufeff"):
                    return _FirstLine(line, Place(offset, number), end)
                offset = end
                number += 1
    except Unreadable as unreadable:
        raise unreadable.refusal(number) from None
    raise FileEmpty


def _delimiter(file: BinaryIO, codec: str, start: Place, options: Options) -> str:
    """Return the delimiter that splits the header into the most names that are known; the comma if none does."""
    known = known_names(options)
    counts = []
    for delimiter in DELIMITERS:
        try:
            _, header, _ = _header(file, codec, delimiter, start)
        except FileRefused:
            header = ()
        counts.append(sum(name != "" and name in known for name in map(simplified, header)))
    most = max(counts)
    return DELIMITERS[counts.index(most)] if counts.count(most) == 1 else ","


def _header(file: BinaryIO, codec: str, delimiter: str, start: Place) -> tuple[int, tuple[str, ...], int]:
    """Return the number, the names and the end of the first row that has a name; (-1, (), 0) if there is none.

    Empty names at its end are no columns. Raises FileRefused.
    """
    for number, cells, _, end in records(file, codec, delimiter, start, refuse_large=True):
        names = list(cells or ())
        while names and not names[-1].strip():
            names.pop()
        if names:
            return number, tuple(names), end
    return -1, (), 0
