"""Rejected rows are written as they were, and read again."""

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from support.user_files import cells_of, codes_of, rejects_of, rows_of
from users.bulk.files.formulas import escaped, unescaped
from users.bulk.options import Options

CHARACTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
CELLS = st.text(st.one_of(st.sampled_from("'\"=+-@,;\t\r\n |{}[] ü€"), CHARACTERS), max_size=12)
HEADER = ("email", "first_name", "last_name", "password", "phone")
IGNORING = Options(ignored=("phone",))


def test_row_as_it_was() -> None:
    content = b'Email;"first_name";password\r\n "ada" ;"Ada ""A""";=x\r\n'
    assert rejects_of(content).decode() == (
        "Email;first_name;password;error_row;error_code;error\r\n"
        ' "ada" ;"Ada ""A""";=x;2;DUPLICATE_IN_FILE;The same email address stands in row 2\r\n'
    )


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "cp1252"])
def test_same_form_as_the_file(codec: str, end: str) -> None:
    mark = "\ufeff" * codec.startswith("utf-16")
    content = (mark + f"sep=^{end}email^first_name{end}ada@example.com^Zoë{end}").encode(codec)
    expected = (
        f"sep=^{end}email^first_name^error_row^error_code^error{end}"
        f"ada@example.com^Zoë^2^DUPLICATE_IN_FILE^The same email address stands in row 2{end}"
    )
    made = rejects_of(content, Options(encoding="windows-1252" if codec == "cp1252" else None))
    assert made == (mark + expected).encode(codec)


def test_short_and_long_rows() -> None:
    """The errors stand under their names. What stood past the header still does."""
    content = b"email,first_name\nada@example.com\nbob@example.com,Bob,,x\n"
    rows = rejects_of(content).decode().splitlines()
    assert rows[1] == "ada@example.com,,2,DUPLICATE_IN_FILE,The same email address stands in row 2"
    assert rows[2] == 'bob@example.com,Bob,3,TOO_MANY_CELLS,"Row has 4 cells, the header 2",,x'
    assert codes_of(rejects_of(content)) == [[], ["TOO_MANY_CELLS"]]


def test_too_large_row_leaves_its_errors() -> None:
    """Its text is not kept. Read again, a row of errors alone is blank."""
    content = b"email,first_name\n" + b"x" * 70_000 + b"\nada@example.com,Ada\n"
    made = rejects_of(content)
    assert made.decode().splitlines()[1] == ",,2,ROW_TOO_LARGE,Row is larger than 64 KiB"
    assert cells_of(made) == [{"email": "ada@example.com", "first_name": "Ada"}]


def test_without_secrets() -> None:
    content = (
        b'email,Pass,password_hash,first_name\nada@example.com,"geheim,1",$2b$,Ada\nbob@example.com,x,geheim,y,$2b$'
    )
    made = rejects_of(content, Options(mapped={"Pass": "password"}), without_secrets=True).decode()
    assert made.splitlines()[1].startswith("ada@example.com,,,Ada,2,DUPLICATE_IN_FILE,")
    assert made.splitlines()[2].startswith("bob@example.com,,,,3,TOO_MANY_CELLS,")
    assert "geheim" not in made
    assert "$2b$" not in made


def test_ignored_password_is_a_secret() -> None:
    content = b"email,password\nada@example.com,geheim\n"
    assert b"geheim" not in rejects_of(content, Options(ignored=("password",)), without_secrets=True)
    assert b"geheim" in rejects_of(content, Options(ignored=("password",)))


def test_json_lines() -> None:
    content = b'{ "email": "ada@example.com", "n": 1.50 }\r\n\r\n{}\r\n{"email" "x"}\r\n'
    made = rejects_of(content, Options(ignored=("n",))).decode()
    report = '"error_row": 1, "error_code": "DUPLICATE_IN_FILE", "error": "The same email address stands in row 2"'
    assert made.split("\r\n") == [
        '{ "email": "ada@example.com", "n": 1.50 , ' + report + "}",
        '{"error_row": 4, "error_code": "INVALID_JSON", "error": "The line is not JSON: look at column 10"}',
        '{"email" "x"}',
        "",
    ]
    again = rejects_of(made.encode(), Options(ignored=("n",)))
    assert [row.row.number for row in rows_of(made.encode(), Options(ignored=("n",)))] == [1, 3]
    assert again.decode().split("\r\n")[2] == '{"email" "x"}'


def test_json_lines_without_secrets() -> None:
    content = b'{"email": "a@example.com", "Password": "geheim", "password_hash": ["geheim"]}\n{"password": "geheim"\n'
    made = rejects_of(content, without_secrets=True).decode().splitlines()
    assert made[0].startswith('{"email": "a@example.com", "Password": "", "password_hash": "", "error_row": 1, ')
    assert made[1].startswith('{"error_row": 2, "error_code": "INVALID_JSON", ')
    assert len(made) == 2


def quoted(cell: str, *, always: bool) -> str:
    return '"' + cell.replace('"', '""') + '"' if always or set(cell) & set('",;\t|\r\n') else cell


@given(
    st.lists(st.tuples(st.lists(CELLS, max_size=7), st.booleans()), min_size=1, max_size=5), st.sampled_from(",;\t|")
)
@hypothesis_settings(deadline=None, max_examples=60)
def test_read_again_is_the_same(rows: list[tuple[list[str], bool]], delimiter: str) -> None:
    """Whatever the cells are: the rejects of the rejects are the rejects, but for the numbers of the rows."""
    lines = [delimiter.join(HEADER)]
    lines += [delimiter.join(quoted(cell, always=always) for cell in cells) for cells, always in rows]
    content = "\n".join([*lines, f"ada@example.com{delimiter}Ada", ""]).encode()
    made = rejects_of(content, IGNORING)
    assert cells_of(made, IGNORING) == cells_of(content, IGNORING)
    assert codes_of(made, IGNORING) == codes_of(content, IGNORING)
    once = rejects_of(made, IGNORING)
    assert rejects_of(once, IGNORING) == once


@given(CELLS)
@hypothesis_settings(deadline=None)
def test_escape_is_a_bijection(cell: str) -> None:
    assert unescaped(escaped(cell)) == cell
    if unescaped(cell) != cell:
        assert escaped(unescaped(cell)) == cell


@given(st.text(st.sampled_from("'=x@"), max_size=4), st.text(st.sampled_from("'=x@"), max_size=4))
def test_escape_keeps_cells_apart(one: str, other: str) -> None:
    assert (escaped(one) == escaped(other)) == (one == other)
    assert escaped(one)[:1] not in ("=", "+", "-", "@", "\t", "\r")


def test_as_many_columns_as_there_may_be() -> None:
    """The columns that say what is wrong come on top of them."""
    names = tuple(f"c{number}" for number in range(63))
    content = f"email,{','.join(names)}\nada@example.com{',' * 63}\n".encode()
    assert cells_of(rejects_of(content, Options(ignored=names)), Options(ignored=names)) == [
        {"email": "ada@example.com"}
    ]
