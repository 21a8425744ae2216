"""What OPERATIONS.md says of the files of users is so: its examples are read, its tables and bounds are the code's."""

import re

import pytest

from support.documents import OPERATIONS, blocks, first_cells, section
from support.user_files import cells_of, rows_of
from users.bulk.files import encodings
from users.bulk.files.formulas import escaped
from users.bulk.files.header import known_names, simplified
from users.bulk.files.layout import MAX_COLUMNS, MAX_NAME_LENGTH, MAX_ROW_BYTES, MAX_ROWS
from users.bulk.files.refusals import FileRefused
from users.bulk.options import Options
from users.bulk.rows import COLUMNS

TOLD = section(OPERATIONS, "Files of users")
WORDS = " ".join(TOLD.split())
KNOWN = known_names(Options(keep_ids=True))


def test_the_examples_are_the_same_users() -> None:
    expected = [
        {"email": "ada@example.com", "first_name": "Ada", "last_name": "Lovelace", "global_role_id": "role_operator"},
        {"email": "zoe@example.com", "first_name": 'Zoë "Z", Ms.'},
    ]
    examples = [*blocks(TOLD, "csv"), *blocks(TOLD, "json")]
    assert [cells_of(example.encode()) for example in examples] == [expected] * 3
    for example in blocks(TOLD, "csv"):
        assert cells_of(example.encode("cp1252"), Options(encoding="windows-1252")) == expected
        assert cells_of(example.encode("utf-16")) == expected


def test_the_table_of_columns() -> None:
    assert [cell.strip("`") for cell in first_cells(TOLD)] == list(COLUMNS)
    rows = [line.split("|") for line in TOLD.splitlines() if line.startswith("| `")]
    others = {simplified(name): row[1].strip(" `") for row in rows for name in re.findall("`(.+?)`", row[3])}
    assert {**others, "e_mail": "email"} == {
        name: column for name, column in KNOWN.items() if column and name != column
    }


def test_names_that_are_not_used() -> None:
    named = re.findall("`(.+?)`", re.findall(r"(`updated_at`.*) may be there", WORDS)[0])
    assert {name for name, column in KNOWN.items() if name and not column} == {
        *named,
        "error_row",
        "error_code",
        "error",
    }


def test_encodings_and_bounds() -> None:
    for name in encodings.NAMES[1:]:
        assert f"`{name}`" in WORDS
    assert (
        f"{MAX_ROWS:,} rows, {MAX_ROW_BYTES // 1024} KiB a row, {MAX_COLUMNS} columns, {MAX_NAME_LENGTH} characters"
    ) in WORDS


def test_numbers_of_rows() -> None:
    """The header is 1, and a blank row counts."""
    assert [row.row.number for row in rows_of(blocks(TOLD, "csv")[1].encode())] == [3, 4]


def test_formulas() -> None:
    (told,) = re.findall(r"begins with (.*?), so", WORDS)
    for first in re.findall("`(.)`", told):
        assert escaped(f"{first}1") == f"'{first}1"


@pytest.mark.parametrize("content", ['email\n"a@example.com', 'email\n"a"@example.com', "email\nZo\udceb"])
def test_what_refuses_a_file(content: str) -> None:
    with pytest.raises(FileRefused):
        rows_of(content.encode(errors="surrogateescape"))
