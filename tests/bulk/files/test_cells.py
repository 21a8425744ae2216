"""The cells of single rows: CSV as others write it, JSON as strict as a body, and what spreadsheets do to texts."""

import io

import pytest

from support.user_files import cells_of, codes_of, rows_of
from users.bulk.files.reading import look, read, sample
from users.bulk.options import Options
from users.bulk.rows import ROW

HEADER = "email,first_name,last_name\n"


def row(text: str, header: str = HEADER) -> dict[str, object]:
    """Return the cells of the one row in `text`."""
    (found,) = cells_of((header + text).encode())
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b,c", ("a", "b", "c")),
        ("a,b,c\n", ("a", "b", "c")),
        ('"a","b","c"', ("a", "b", "c")),
        ('a,"b,c",d\r\n', ("a", "b,c", "d")),
        ('a,"",c', ("a", None, "c")),
        ("a,,", ("a", None, None)),
        ("a", ("a", None, None)),
        ('a,"""",""""""', ("a", '"', '""')),
        ('a,"b ""c"" d",e', ("a", 'b "c" d', "e")),
        ('a,b "c" d,e"', ("a", 'b "c" d', 'e"')),  # a quote inside a cell without quotes is a character like others
        ('a, "b",c', ("a", ' "b"', "c")),
        ('a,"b\nc\r\nd\re",f', ("a", "b\nc\r\nd\re", "f")),
        ('a,"\n",f', ("a", "\n", "f")),
        ('a,"b\n\n\n""\n",f', ("a", 'b\n\n\n"\n', "f")),
        ('"a\n","\nb","c\n"\n', ("a\n", "\nb", "c\n")),
        ('a,"x"\n', ("a", "x", None)),
        ("a,\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e,c", ("a", "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e", "c")),
        ("a,\u202eevil,c", ("a", "\u202eevil", "c")),
        ("a,\ufeffb,c", ("a", "\ufeffb", "c")),
        ('a,\\,\\"', ("a", "\\", '\\"')),
        ("a,日本,𝒜", ("a", "日本", "𝒜")),
        ("  a , b,c ", ("  a ", " b", "c ")),
    ],
)
def test_cells(text: str, expected: tuple[str | None, ...]) -> None:
    names = ("email", "first_name", "last_name")
    assert row(text) == {name: cell for name, cell in zip(names, expected, strict=True) if cell is not None}


@pytest.mark.parametrize("line", ["", ",", ",,,,,", " ", "\t", '""', '"",""', " , ,", '"\n"', ",,,,,,,,,,,,,,,,"])
def test_blank_rows_count(line: str) -> None:
    content = f"{HEADER}a,b,c\n{line}\nd,e,f\n"
    assert [found.row.number for found in rows_of(content.encode())] == [2, 4]


@pytest.mark.parametrize("content", [f"\n\n{HEADER}\na,b,c\n,,\nd\n\n,,\n\n", '{"email": 1}\n\n{}\n \n[]\n\n{}'])
def test_blank_rows_are_counted(content: str) -> None:
    """Those at the end too, but none before the header."""
    file = io.BytesIO(content.encode())
    rows = read(file, look(file, Options()))
    assert (len(list(rows)), rows.blank) == (2, 5)


def test_cells_past_the_header() -> None:
    content = f"{HEADER}a,b,c,,\na,b,c,,x\na,b,c, \n".encode()
    assert [found.row.errors for found in rows_of(content)][::2] == [(), ()]
    (error,) = rows_of(content)[1].row.errors
    assert (error.field, error.code, error.message) == (ROW, "TOO_MANY_CELLS", "Row has 5 cells, the header 3")
    assert cells_of(content)[1] == {"email": "a", "first_name": "b", "last_name": "c"}


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("'=1+1", "=1+1"),
        ("''=1", "'=1"),
        ("'+49", "+49"),
        ("'-", "-"),
        ("'@x", "@x"),
        ("'\tx", "\tx"),
        ("=1+1", "=1+1"),
        ("'x", "'x"),
        ("'", "'"),
        ("O'Neil", "O'Neil"),
        ("x'=1", "x'=1"),
    ],
)
def test_formula_cells(cell: str, expected: str) -> None:
    """An apostrophe that an export put before a formula goes, in emails and names alone."""
    content = f"email,first_name,password\n{cell},{cell},{cell}\n".encode()
    assert cells_of(content) == [{"email": expected, "first_name": expected, "password": cell}]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", ""])
def test_row_of_64_kib(end: str) -> None:
    fitting, larger = "a," + "x" * (65_536 - 2), "a," + "ü" * (32_768 - 1) + "y"
    assert codes_of(f"{HEADER}{fitting}{end}".encode()) == [[]]
    assert codes_of(f"{HEADER}{larger}{end}".encode()) == [["ROW_TOO_LARGE"]]


@pytest.mark.parametrize("length", [65_537, 300_000])
@pytest.mark.parametrize(
    "inside",
    ["x", "xy,", '"', '""', "\n", "\r\n", '""\n,'],
)
def test_rows_after_a_large_one(inside: str, length: int) -> None:
    """A quoted cell of any content ends at its quote, however long it is; nothing of it is kept."""
    cell = (inside.replace('"', '""') * length)[: length - length % 2]
    content = f'{HEADER}b,"{cell}",c\nd,e,f\n'.encode()
    found = rows_of(content)
    assert [[str(error.code) for error in one.row.errors] for one in found] == [["ROW_TOO_LARGE"], []]
    assert (found[0].row.cells, found[0].raw) == ({}, "")
    assert [one.row.number for one in found] == [2, 3]
    assert found[0].end.byte_offset == len(content) - len("d,e,f\n")
    assert found[0].row.errors[0].message == "Row is larger than 64 KiB"


def test_large_rows_without_quotes() -> None:
    content = (HEADER + "x" * 700_000 + "\nd,e,f\n" + "y,z" * 300_000 + '"').encode()
    assert codes_of(content) == [["ROW_TOO_LARGE"], [], ["ROW_TOO_LARGE"]]


# JSON lines.


def json_row(line: str) -> tuple[dict[str, object], list[tuple[str, str, str]]]:
    """Return the cells and the errors of one line."""
    (found,) = rows_of(line.encode())
    return dict(found.row.cells), [(error.field, str(error.code), error.message) for error in found.row.errors]


def test_members_by_our_names() -> None:
    line = '{"E-Mail": "a", "first_name": null, "is_active": true, "Role": 7, "password": "\\u00e9", "updated_at": 1}'
    cells = {"email": "a", "first_name": None, "is_active": True, "global_role_id": 7, "password": "é"}
    assert json_row(line) == (cells, [])


def test_unknown_members() -> None:
    """Each is an error of its own, and what is known is read."""
    cells, errors = json_row('{"email": "a", "phone": "b", "frist_name": {}, "": 1}')
    assert cells == {"email": "a"}
    assert [(name, code) for name, code, _ in errors] == [
        (name, "UNKNOWN_FIELD") for name in ("phone", "frist_name", "")
    ]
    assert errors[1][2] == 'Unknown field "frist_name". Did you mean "first_name"?'


def test_mapped_and_ignored_members() -> None:
    line = b'{"Login": "a@example.com", "phone": "1", "id": "x"}\n'
    options = Options(mapped={"login": "email"}, ignored=("phone",), keep_ids=True)
    assert cells_of(line, options) == [{"email": "a@example.com", "id": "x"}]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"email": "a",}', "is not JSON: look at column 15"),
        ("{'email': 'a'}", "is not JSON: look at column 2"),
        ('{"email": "a"} x', "is not JSON: look at column 16"),
        ('{"email": "a"}{"email": "b"}', "is not JSON: look at column 15"),
        ('{"email": "a"', "is not JSON: look at column 14"),
        ('{"email": "a\tb"}', "is not JSON: look at column 13"),
        ('{"email": "\\x"}', "is not JSON: look at column 12"),
        ('{"email": 01}', "is not JSON: look at column 12"),
        ('{"email": "a", "email": "b"}', "names a member twice"),
        ('{"x": {"a": 1, "a": 1}}', "names a member twice"),
        ('{"email": NaN}', "must not hold NaN or Infinity, which JSON does not have"),
        ('{"email": -Infinity}', "must not hold NaN or Infinity, which JSON does not have"),
        ('{"email": 1e999}', "holds a number that is too large"),
        ('{"email": ' + "9" * 5000 + "}", "holds a number that is too large"),
        ('{"email": "\\ud800"}', "holds half of a surrogate pair"),
        ('{"\\udfff": 1}', "holds half of a surrogate pair"),
        ('{"email": "\\u0000"}', "must not hold the character NUL"),
        ('{"x": ' + "[" * 32 + "]" * 32 + "}", "must be nested 32 levels deep or less"),
        ('{"x": ' + "[" * 30_000 + "]" * 30_000 + "}", "must be nested 32 levels deep or less"),
        ("[]", 'must be one JSON object, like {"email": "name@example.com"}'),
        ('"email"', 'must be one JSON object, like {"email": "name@example.com"}'),
        ("null", 'must be one JSON object, like {"email": "name@example.com"}'),
    ],
)
def test_no_strict_json(line: str, words: str) -> None:
    content = '{"email": "a"}\n' + line + '\r\n{"email": "b"}'
    found = rows_of(content.encode())
    assert [one.row.cells.get("email") for one in found] == ["a", None, "b"]
    (error,) = found[1].row.errors
    assert (error.field, error.code, error.message) == (ROW, "INVALID_JSON", f"The line {words}")
    assert found[1].raw == line


def test_two_members_of_one_meaning() -> None:
    assert json_row('{"email": "a", "E-Mail": "b"}') == ({}, [(ROW, "INVALID_JSON", 'Two members mean "email"')])


def test_surrogate_pair_and_separators() -> None:
    assert json_row('{"email": "\\ud835\\udc9c\u2028"}') == ({"email": "𝒜\u2028"}, [])


def test_large_line() -> None:
    line = '{"email": "' + "x" * 700_000 + '"}\n'
    assert codes_of(('{"email": "a"}\n' + line + '{"email": "b"}\n' + line).encode()) == [
        [],
        ["ROW_TOO_LARGE"],
        [],
        ["ROW_TOO_LARGE"],
    ]


def test_told_by_content() -> None:
    assert cells_of(b'\xef\xbb\xbf \r\n\n {"email": "a"}') == [{"email": "a"}]


# What the page asks with.


def test_sample() -> None:
    content = "Adresse;Vorname;\n\na@example.com;Ada;x;y\n;;\nb@example.com\nc@example.com;C\nd;D".encode("utf-16")
    assert sample(io.BytesIO(content), Options(ignored=("Vorname",))) == (
        ("Adresse", "Vorname"),
        [["a@example.com", "Ada"], ["b@example.com", ""], ["c@example.com", "C"]],
    )
    assert sample(io.BytesIO(b'{"email": "a"}'), Options()) == ((), [])


@pytest.mark.parametrize("after", ['"x', '"x"y', "\0", "x" * 70_000, '"' + "x\n" * 70_000])
def test_sample_before_what_is_malformed(after: str) -> None:
    content = f"Adresse,Vorname\na@example.com,Ada\n{after}\nb@example.com,B\n".encode()
    assert sample(io.BytesIO(content), Options()) == (("Adresse", "Vorname"), [["a@example.com", "Ada"]])


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", ""])
def test_line_of_64_kib(end: str) -> None:
    fitting = '{"email":"' + "x" * (65_536 - 12) + '"}'
    assert codes_of(f"{fitting}{end}".encode()) == [[]]
    assert codes_of(f"{fitting} {end}".encode()) == [["ROW_TOO_LARGE"]]


def test_cells_are_in_no_repr() -> None:
    (found,) = rows_of(b"email,password\nada@example.com,geheim\n")
    assert "geheim" not in repr(found) + str(found) + repr([found]) + f"{found}"
