"""What cannot be imported at all is refused with the contract's code, details and words."""

import gzip
import io
import zipfile
from typing import Any

import pytest

from support.user_files import cells_of, rows_from, rows_of
from users.bulk.files import encodings, reading, refusals
from users.bulk.files.layout import MAX_ROWS, Layout
from users.bulk.files.reading import look
from users.bulk.options import Options

HEADER = b"email,first_name\n"
ROW = b"ada@example.com,Ada\n"
ZWNJ = "\u200c"


def refused(content: bytes, **options: Any) -> refusals.FileRefused:
    """Return why a file is refused."""
    with pytest.raises(refusals.FileRefused) as found:
        rows_of(content, Options(**options))
    assert (found.value.status, found.value.type) == (422, "validation_error")
    return found.value


def zipped(*names: str) -> bytes:
    """Return a ZIP archive with files of these names."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            archive.writestr(name, "application/vnd.oasis.opendocument.spreadsheet" if name == "mimetype" else "x")
    return made.getvalue()


EXCEL = 'This is an Excel workbook. In Excel choose Save As, "CSV UTF-8 (comma delimited)"'
CASES: dict[str, tuple[bytes, str, dict[str, Any], str]] = {
    "nothing": (b"", "FILE_EMPTY", {}, "The file has no rows"),
    "a mark alone": (b"\xef\xbb\xbf", "FILE_EMPTY", {}, "The file has no rows"),
    "blank lines": (b" \r\n\r\n\t\n", "FILE_EMPTY", {}, "The file has no rows"),
    "delimiters alone": (b",,,\n,,,\n", "FILE_EMPTY", {}, "The file has no rows"),
    "a sep line alone": (b"sep=;\r\n", "FILE_EMPTY", {}, "The file has no rows"),
    "a header alone": (HEADER, "FILE_EMPTY", {}, "The file has no rows"),
    "a header and blank rows": (HEADER + b"\n,\n \n", "FILE_EMPTY", {}, "The file has no rows"),
    "empty objects": (b"{}\n{}\n", "FILE_EMPTY", {}, "The file has no rows"),
    "xlsx": (zipped("[Content_Types].xml", "xl/workbook.xml"), "FILE_FORMAT_UNSUPPORTED", {"found": "xlsx"}, EXCEL),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", "FILE_FORMAT_UNSUPPORTED", {"found": "xls"}, EXCEL),
    "ods": (
        zipped("mimetype", "content.xml"),
        "FILE_FORMAT_UNSUPPORTED",
        {"found": "ods"},
        'This is an OpenDocument workbook. In LibreOffice choose Save As, "Text CSV"',
    ),
    "zip": (
        zipped("users.csv"),
        "FILE_FORMAT_UNSUPPORTED",
        {"found": "zip"},
        "This is a ZIP archive. Unpack it first",
    ),
    "gzip": (
        gzip.compress(bytes(1_000_000)),
        "FILE_FORMAT_UNSUPPORTED",
        {"found": "gzip"},
        "This is a gzip file. Unpack it first",
    ),
    "pdf": (
        b"%PDF-1.7\n",
        "FILE_FORMAT_UNSUPPORTED",
        {"found": "pdf"},
        "This is a PDF file. Export the users as CSV instead",
    ),
    "a JSON array": (
        b'[\n  {"email": "a@example.com"}]',
        "FILE_FORMAT_UNSUPPORTED",
        {"found": "json"},
        "This is a JSON array. Write one object a line, without brackets and commas around them",
    ),
    "a byte of another encoding": (
        HEADER + ROW * 5 + b"bj\xf6rn@example.com,\n",
        "FILE_ENCODING",
        {"row": 7, "byte": len(HEADER + ROW * 5) + 2},
        'Row 7 is not UTF-8. Save the file as "CSV UTF-8", or say its encoding',
    ),
    "in the header": (
        b"email,Stra\xdfe\n" + ROW,
        "FILE_ENCODING",
        {"row": 1, "byte": 10},
        'Row 1 is not UTF-8. Save the file as "CSV UTF-8", or say its encoding',
    ),
    "in a row of several lines": (
        HEADER + b'a@example.com,"1\n2\n\xff"\n',
        "FILE_ENCODING",
        {"row": 2, "byte": 36},
        'Row 2 is not UTF-8. Save the file as "CSV UTF-8", or say its encoding',
    ),
    "half a character at the end": (
        HEADER + b"a@example.com,\xc3",
        "FILE_ENCODING",
        {"row": 2, "byte": 31},
        'Row 2 is not UTF-8. Save the file as "CSV UTF-8", or say its encoding',
    ),
    "a surrogate in UTF-8": (
        HEADER + b"a@example.com,\xed\xa0\x80\n",
        "FILE_ENCODING",
        {"row": 2, "byte": 31},
        'Row 2 is not UTF-8. Save the file as "CSV UTF-8", or say its encoding',
    ),
    "a lone surrogate in UTF-16": (
        "\ufeffemail\na@example.com\n".encode("utf-16-le") + b"\x00\xd8\n\0",
        "FILE_ENCODING",
        {"row": 3, "byte": 42},
        'Row 3 is not UTF-16-LE. Save the file as "CSV UTF-8", or say its encoding',
    ),
    "after a lone CR": (
        b"email\ra@example.com\r\xff",
        "FILE_ENCODING",
        {"row": 3, "byte": 20},
        'Row 3 is not UTF-8. Save the file as "CSV UTF-8", or say its encoding',
    ),
    "JSON lines": (
        b'{"email": "a@example.com"}\n{"email": "\xe9"}\n',
        "FILE_ENCODING",
        {"row": 2, "byte": 38},
        'Row 2 is not UTF-8. Save the file as "CSV UTF-8", or say its encoding',
    ),
    "a quote that is not closed": (
        HEADER + ROW + b'"bob@example.com,Bob\n' + ROW * 3,
        "FILE_MALFORMED",
        {"row": 3},
        "A quote that opens in row 3 is never closed",
    ),
    "in the last row": (
        HEADER + b'a@example.com,"',
        "FILE_MALFORMED",
        {"row": 2},
        "A quote that opens in row 2 is never closed",
    ),
    "in the header too": (
        b'"email,first_name\n' + ROW,
        "FILE_MALFORMED",
        {"row": 1},
        "A quote that opens in row 1 is never closed",
    ),
    "text after a quote": (
        HEADER + ROW + b'"bob"@example.com,Bob\n',
        "FILE_MALFORMED",
        {"row": 3},
        "Text follows a closing quote in row 3",
    ),
    "text after a quote, lines later": (
        HEADER + b'a@example.com,"Ada\n' + b'"b@example.com",Bob\n',
        "FILE_MALFORMED",
        {"row": 2},
        "Text follows a closing quote in row 2",
    ),
    "NUL": (
        HEADER + ROW + b"a\0b@example.com,\n",
        "FILE_MALFORMED",
        {"row": 3},
        'Row 3 holds the character NUL. Save the file as "CSV UTF-8", or say its encoding',
    ),
    "UTF-16 without a mark": (
        "email\na@example.com\n".encode("utf-16-le"),
        "FILE_MALFORMED",
        {"row": 1},
        'Row 1 holds the character NUL. Save the file as "CSV UTF-8", or say its encoding',
    ),
    "too many columns": (
        b"email," + b",".join(b"c%d" % n for n in range(70)) + b"\n",
        "FILE_MALFORMED",
        {"row": 1},
        "The header has 71 columns. It may have 64",
    ),
    "a long name": (
        b"email," + b"x" * 65 + b"\n",
        "FILE_MALFORMED",
        {"row": 1},
        "A name in the header is longer than 64 characters",
    ),
    "a header too large": (
        b"email," + b"x" * 70_000 + b"\n",
        "FILE_MALFORMED",
        {"row": 1},
        "The header is longer than 64 KiB. Perhaps a quote that opens in it is never closed",
    ),
    "no email": (
        b"first_name,last_name\nAda,Lovelace\n",
        "MISSING_COLUMN",
        {"column": "email"},
        'The header has no column "email". It has: first_name, last_name',
    ),
    "no header": (
        b"ada@example.com,Ada,geheim\nbob@example.com,Bob,x\n",
        "MISSING_COLUMN",
        {"column": "email"},
        'The header has no column "email". The first row must hold the names of the columns',
    ),
    "one unknown column": (
        b"email,phone\n",
        "UNKNOWN_COLUMN",
        {"columns": ["phone"]},
        'Unknown column "phone". Map it or ignore it',
    ),
    "a column written wrong": (
        b"emial,first_name\n",
        "UNKNOWN_COLUMN",
        {"columns": ["emial"]},
        'Unknown column "emial". Map it or ignore it. Did you mean "email"?',
    ),
    "several unknown columns": (
        b"email;Frist Name;phone\n",
        "UNKNOWN_COLUMN",
        {"columns": ["Frist Name", "phone"]},
        'Unknown columns "Frist Name", "phone". Map them or ignore them. Did you mean "first_name" for "Frist Name"?',
    ),
    "one column twice": (
        b"Email,first_name,E-mail\n",
        "DUPLICATE_COLUMN",
        {"column": "email"},
        'Two columns mean "email": "Email" and "E-mail"',
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_refused(case: str) -> None:
    content, code, details, words = CASES[case]
    error = refused(content)
    assert (error.code, error.details, error.message) == (code, details, words)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("before", [b"", b"\n", b" \n\t\n", "\ufeff".encode()])
def test_json_array_is_seen(before: bytes, end: bytes) -> None:
    assert refused(before.replace(b"\n", end) + b"[" + end + b"{}]").details == {"found": "json"}


def test_windows_1252_lacks_bytes() -> None:
    error = refused(HEADER + b"a@example.com,\x81\n", encoding="windows-1252")
    assert error.details == {"row": 2, "byte": 31}
    assert error.message.startswith("Row 2 is not windows-1252. ")


@pytest.mark.parametrize("name", ["koi8-r", "", "\0", "../x", "utf-32", "idna", "rot13", "x" * 1000])
def test_unknown_encoding(name: str) -> None:
    with pytest.raises(refusals.UnknownEncoding) as found:
        encodings.codec_of(name)
    assert found.value.message == (
        "Enrol does not know this encoding. It knows: utf-8, utf-16-le, utf-16-be, windows-1252, iso-8859-15"
    )


@pytest.mark.parametrize("name", encodings.NAMES)
def test_known_encodings(name: str) -> None:
    assert "é".encode(encodings.codec_of(name)) == "é".encode(name)


def test_too_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_ROWS", 2)
    assert len(rows_of(HEADER + ROW * 2 + b"\n\n")) == 2
    assert refused(HEADER + ROW * 3).message == f"The file has more than {MAX_ROWS:,} rows. Import it in parts"
    assert refused(b"\n" + HEADER + ROW * 3).details == {"limit": MAX_ROWS}
    assert refused(b'{"email": "a"}\n' * 3).code == "FILE_TOO_MANY_ROWS"


def test_rows_before_the_error_are_read() -> None:
    """The error comes at its row, not before: an import that goes on has seen the others."""
    rows = rows_from(io.BytesIO(HEADER + ROW * 3 + b"\xff"))
    assert [next(rows).row.number for _ in range(3)] == [2, 3, 4]
    with pytest.raises(refusals.FileEncoding):
        next(rows)


# Mapping and ignoring.


def layout(header: bytes, **options: Any) -> Layout:
    """Return the layout of a file with this header and a row."""
    return look(io.BytesIO(header + b"\nx\n"), Options(**options))


def test_mapped_and_ignored() -> None:
    made = layout(b"Login;Vorname;phone;E-Mail", mapped={"vorname ": "First-Name"}, ignored=("LOGIN", "Phone"))
    assert made.columns == (None, "first_name", None, "email")
    assert made.notices == ()


def test_mapped_name_is_what_it_is_mapped_to() -> None:
    """Also where the name is known for something else."""
    content = b"email,mail\nada@example.com,Ada\n"
    assert cells_of(content, Options(mapped={"mail": "first_name"})) == [
        {"email": "ada@example.com", "first_name": "Ada"}
    ]


def test_mapped_onto_one_that_is_there() -> None:
    error = refused(b"email,login\n", mapped={"login": "email"})
    assert (error.code, error.message) == ("DUPLICATE_COLUMN", 'Two columns mean "email": "email" and "login"')


def test_mapped_names_must_be_there() -> None:
    error = refused(b"email,phone\n" + ROW, mapped={"Mobile": "first_name"}, ignored=("phone",))
    assert (error.code, error.details) == ("MISSING_COLUMN", {"column": "Mobile"})
    assert error.message == 'The header has no column "Mobile". It has: email, phone'


def test_mapped_to_no_column() -> None:
    error = refused(b"email,login\n", mapped={"login": "phone"})
    assert (error.code, error.details) == ("UNKNOWN_COLUMN", {"columns": ["phone"]})
    assert error.message.startswith('Enrol has no column "phone". It has: email, first_name, ')


def test_mapped_names_tell_the_delimiter() -> None:
    made = layout(b"Konto|Ort", mapped={"Konto": "email"}, ignored=("Ort",))
    assert (made.delimiter, made.columns) == ("|", ("email", None))


def test_tie_is_the_comma() -> None:
    """Semicolons and commas would both split off one known name."""
    error = refused(b"email;x,first_name\n")
    assert (error.code, error.details) == ("UNKNOWN_COLUMN", {"columns": ["email;x"]})


def test_names_that_are_known_and_not_used() -> None:
    made = layout(b"updated_at,id,last login,,email,error_row,Error-Code,ERROR,full.name")
    assert made.columns == (None, None, None, None, "email", None, None, None, None)
    assert made.notices == (
        'The column "updated_at" is not used',
        'The column "id" is not used',
        'The column "last login" is not used',
        "Column 4 has no name and is not used",
        'The column "error_row" is not used',
        'The column "Error-Code" is not used',
        'The column "ERROR" is not used',
        'The column "full.name" is not used',
    )
    assert layout(b"email,id", keep_ids=True).columns == ("email", "id")


def test_members_that_are_known_and_not_used() -> None:
    made = look(io.BytesIO(b'{"email": "a", "Full Name": 1, "id": 2}\n'), Options())
    assert made.notices == ('The column "Full Name" is not used', 'The column "id" is not used')
    assert (made.header, made.columns, made.form) == ((), (), "jsonl")


def test_empty_names_at_the_end_are_no_columns() -> None:
    made = layout(b"email,first_name,,, ,")
    assert (made.header, made.notices) == (("email", "first_name"), ())


def test_header_of_several_lines() -> None:
    made = look(io.BytesIO(b'\n\n"email","first\nname"\nx\n'), Options(ignored=("first\nname",)))
    assert made.first.number == 4
