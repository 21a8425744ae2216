"""The same users come from every encoding, delimiter, line end and way to name the columns."""

from itertools import product

import pytest

from support.user_files import cells_of, rows_of
from users.bulk.files.refusals import FileEncoding
from users.bulk.options import Options

ENCODINGS = {
    "UTF-8": ("utf-8", None),
    "UTF-8 with BOM": ("utf-8-sig", None),
    "UTF-16 LE with BOM": ("utf-16-le", None),
    "UTF-16 BE with BOM": ("utf-16-be", None),
    "windows-1252 named": ("cp1252", "windows-1252"),
}
HEADERS = (
    ("email", "first_name", "last_name", "password", "global_role_id"),
    ("E-Mail", "First Name", " LAST.NAME ", "Password", "Role"),
    ("mail", "forename", "surname", "PASSWORD", "Global-Role-Id"),
    ("email address", "given name", "family name", "password", "role"),
)
USERS = [
    {"email": "ada@example.com", "first_name": "Ada", "last_name": "Müller"},
    {
        "email": "zoë@example.com",
        "first_name": 'Zoë "Z", | \t;',
        "password": "a;b,c|d\te",
        "global_role_id": "role_member",
    },
    {"email": "o'neil@example.com", "first_name": "Two\nlines", "last_name": "O'Neil – ok"},
]
COLUMNS = ("email", "first_name", "last_name", "password", "global_role_id")


def written(delimiter: str, end: str, header: tuple[str, ...], *, sep: bool) -> str:
    """Return the users as a spreadsheet saves them."""

    def line(cells: list[str]) -> str:
        quoted = ['"' + cell.replace('"', '""') + '"' if set(cell) & set('",;|\t\n') else cell for cell in cells]
        return delimiter.join(quoted) + end

    rows = [[user.get(name, "") for name in COLUMNS] for user in USERS]
    return (f"sep={delimiter}{end}" if sep else "") + "".join(map(line, [list(header), *rows]))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(("delimiter", "end"), [*product(",;\t|", ("\r\n", "\n", "\r"))])
def test_same_users(encoding: str, delimiter: str, end: str) -> None:
    codec, named = ENCODINGS[encoding]
    for header, sep in product(HEADERS, (True, False)):
        text = written(delimiter, end, header, sep=sep)
        content = ("\ufeff" * codec.startswith("utf-16-") + text).encode(codec)
        assert cells_of(content, Options(encoding=named)) == USERS
        assert [row.row.number for row in rows_of(content, Options(encoding=named))] == [2, 3, 4]


@pytest.mark.parametrize("name", ["utf-16-le", "utf-16-be", "UTF-16LE", "utf-8", "iso-8859-15", "Windows-1252"])
def test_named_encodings(name: str) -> None:
    content = "email,first_name\r\nada@example.com,Zoë\r\n".encode(name)
    assert cells_of(content, Options(encoding=name)) == [{"email": "ada@example.com", "first_name": "Zoë"}]


def test_mark_decides_over_the_name() -> None:
    content = "email,first_name\r\nada@example.com,Zoë\r\n".encode("utf-8-sig")
    assert cells_of(content, Options(encoding="windows-1252"))[0]["first_name"] == "Zoë"


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
@pytest.mark.parametrize("delimiter", list(",;\t|"))
def test_windows_1252_unnamed(delimiter: str, end: str) -> None:
    """The file is not guessed: the error has the row and the byte of the first character that is not UTF-8."""
    content = written(delimiter, end, HEADERS[0], sep=False).encode("cp1252")
    with pytest.raises(FileEncoding) as refused:
        rows_of(content)
    assert refused.value.details == {"row": 2, "byte": content.index("ü".encode("cp1252"))}
    assert refused.value.message == 'Row 2 is not UTF-8. Save the file as "CSV UTF-8", or say its encoding'


@pytest.mark.parametrize(
    ("first", "delimiter"),
    [("sep=;", ";"), ("SEP=^", "^"), ('"sep=,"', ","), ("sep=\t", "\t"), ("sep=§", "§")],
)
def test_sep_line_decides(first: str, delimiter: str) -> None:
    """Even over the delimiter that would split the header into more names. It is no row."""
    content = f"{first}\r\nemail{delimiter}first_name\r\nada@example.com{delimiter}A;d,a\r\n".replace(
        "A;d,a", "Ada"
    ).encode()
    rows = rows_of(content)
    assert [(row.row.number, row.row.cells) for row in rows] == [(2, {"email": "ada@example.com", "first_name": "Ada"})]
