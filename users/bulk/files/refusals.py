"""The errors of a file as a whole: nothing of it is imported. The codes and words are the contract's."""

import difflib
from collections.abc import Sequence

from users.bulk.files.layout import MAX_ROW_BYTES, MAX_ROWS
from users.bulk.rows import COLUMNS
from users.errors import EnrolError

_SHOWN = 20  # names of columns in a message
_FORMATS = {
    "gzip": "This is a gzip file. Unpack it first",
    "json": "This is a JSON array. Write one object a line, without brackets and commas around them",
    "ods": 'This is an OpenDocument workbook. In LibreOffice choose Save As, "Text CSV"',
    "pdf": "This is a PDF file. Export the users as CSV instead",
    "xls": 'This is an Excel workbook. In Excel choose Save As, "CSV UTF-8 (comma delimited)"',
    "xlsx": 'This is an Excel workbook. In Excel choose Save As, "CSV UTF-8 (comma delimited)"',
    "zip": "This is a ZIP archive. Unpack it first",
}


class FileRefused(EnrolError):
    """The file cannot be imported, whatever its rows say."""

    status = 422
    type = "validation_error"
    system_message = "The file cannot be read as rows of users"


class FileEmpty(FileRefused):
    """There is no row after the header."""

    code = "FILE_EMPTY"
    message = "The file has no rows"


class FileFormatUnsupported(FileRefused):
    """The file is of a format that is no text of rows. `details` is `{"found"}`."""

    code = "FILE_FORMAT_UNSUPPORTED"

    def __init__(self, found: str) -> None:
        super().__init__(details={"found": found})
        self.message = _FORMATS[found]


class FileEncoding(FileRefused):
    """A byte is not of the file's encoding. `details` is `{"row", "byte"}`; the first byte of the file is 0."""

    code = "FILE_ENCODING"

    def __init__(self, row: int, *, byte: int, encoding: str) -> None:
        super().__init__(details={"row": row, "byte": byte})
        self.message = f'Row {row} is not {encoding}. Save the file as "CSV UTF-8", or say its encoding'


class UnknownEncoding(FileRefused):
    """The encoding that was named is none that Enrol reads."""

    code = "FILE_ENCODING"

    def __init__(self, known: Sequence[str]) -> None:
        super().__init__()
        self.message = f"Enrol does not know this encoding. It knows: {', '.join(known)}"


class FileMalformed(FileRefused):
    """The text breaks the rules of CSV. `details` is `{"row"}`."""

    code = "FILE_MALFORMED"

    def __init__(self, row: int, words: str) -> None:
        super().__init__(details={"row": row})
        self.message = words


def header_too_large(row: int) -> FileMalformed:
    """Return the error of a header that is larger than a row may be."""
    words = f"The header is longer than {MAX_ROW_BYTES // 1024} KiB. Perhaps a quote that opens in it is never closed"
    return FileMalformed(row, words)


def never_closed(row: int) -> FileMalformed:
    """Return the error of a quoted cell that goes on to the end of the file."""
    return FileMalformed(row, f"A quote that opens in row {row} is never closed")


def text_after_quote(row: int) -> FileMalformed:
    """Return the error of a quoted cell that does not end at its closing quote."""
    return FileMalformed(row, f"Text follows a closing quote in row {row}")


def nul(row: int) -> FileMalformed:
    """Return the error of a NUL, which no text holds: most often it is UTF-16 without a byte order mark."""
    return FileMalformed(row, f'Row {row} holds the character NUL. Save the file as "CSV UTF-8", or say its encoding')


class FileTooManyRows(FileRefused):
    """The file has more rows than an import may have. `details` is `{"limit"}`."""

    code = "FILE_TOO_MANY_ROWS"
    message = f"The file has more than {MAX_ROWS:,} rows. Import it in parts"

    def __init__(self) -> None:
        super().__init__(details={"limit": MAX_ROWS})


class MissingColumn(FileRefused):
    """The header lacks a column. `details` is `{"column"}`."""

    code = "MISSING_COLUMN"

    def __init__(self, column: str, header: Sequence[str]) -> None:
        super().__init__(details={"column": column})
        if any("@" in name for name in header):  # a user's row stands where the header should
            self.message = f'The header has no column "{column}". The first row must hold the names of the columns'
        else:
            self.message = f'The header has no column "{column}". It has: {_listed(header)}'


class UnknownColumn(FileRefused):
    """The header has columns that are neither known, nor mapped, nor ignored. `details` is `{"columns"}`."""

    code = "UNKNOWN_COLUMN"

    def __init__(self, columns: Sequence[str]) -> None:
        super().__init__(details={"columns": list(columns)})
        quoted = [f'"{name}"' for name in columns]
        several = len(columns) > 1
        words = f"Unknown column{'s' if several else ''} {_listed(quoted)}. Map {'them' if several else 'it'}"
        self.message = f"{words} or ignore {'them' if several else 'it'}{_advice(columns)}"


class UnknownTarget(FileRefused):
    """A column is mapped to one that Enrol does not have. `details` is `{"columns"}`."""

    code = "UNKNOWN_COLUMN"

    def __init__(self, target: str) -> None:
        super().__init__(details={"columns": [target]})
        self.message = f'Enrol has no column "{target}". It has: {", ".join(COLUMNS)}'


class DuplicateColumn(FileRefused):
    """Two columns of the header mean the same. `details` is `{"column"}`."""

    code = "DUPLICATE_COLUMN"

    def __init__(self, column: str, names: tuple[str, str]) -> None:
        super().__init__(details={"column": column})
        self.message = f'Two columns mean "{column}": "{names[0]}" and "{names[1]}"'


def _listed(names: Sequence[str]) -> str:
    more = ", …" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _advice(columns: Sequence[str]) -> str:
    """Return what the names of `columns` may have been meant for, "" if nothing comes near."""
    near = ((name, difflib.get_close_matches(name.lower(), COLUMNS, n=1, cutoff=0.7)) for name in columns[:_SHOWN])
    meant = [(name, found[0]) for name, found in near if found]
    if not meant:
        return ""
    if len(columns) == 1:
        return f'. Did you mean "{meant[0][1]}"?'
    return ". Did you mean " + ", ".join(f'"{ours}" for "{name}"' for name, ours in meant) + "?"
