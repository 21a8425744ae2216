"""An export is what spreadsheets show as text, and what an import reads back to the same values."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from support.user_files import cells_of
from users.bulk.files.writing import Export

COLUMNS = ("email", "first_name", "last_name", "is_active")
ADA: dict[str, Any] = {"email": "ada@example.com", "first_name": "Ada", "last_name": None, "is_active": True, "more": 1}
NAMES = st.text(st.one_of(st.sampled_from("'=+-@\t\r\n\",; x"), st.characters(exclude_categories=["Cs"])), min_size=1)
NAMES = NAMES.filter(lambda name: "\0" not in name)


def exported(*rows: dict[str, Any], form: Any = "csv", excel: bool = False) -> bytes:
    """Return an export of users."""
    export = Export(form, COLUMNS, excel=excel)
    return export.header() + b"".join(map(export.row, rows))


def test_csv() -> None:
    assert exported(ADA, {**ADA, "first_name": 'A "B", C', "last_name": "1\r\n2", "is_active": False}) == (
        b"email,first_name,last_name,is_active\r\n"
        b"ada@example.com,Ada,,true\r\n"
        b'ada@example.com,"A ""B"", C","1\r\n2",false\r\n'
    )


def test_json_lines() -> None:
    made = exported({**ADA, "first_name": "=Zoë\u2028"}, form="jsonl", excel=True)
    assert made == (
        '{"email": "ada@example.com", "first_name": "=Zoë\u2028", "last_name": null, "is_active": true}\n'.encode()
    )
    assert json.loads(made)["first_name"] == "=Zoë\u2028"


def test_excel_gets_a_mark() -> None:
    assert exported(ADA, excel=True) == b"\xef\xbb\xbf" + exported(ADA)


@pytest.mark.parametrize("first", [*list("=+-@\t\r"), "'=", "''@"])
def test_no_cell_is_a_formula(first: str) -> None:
    cell = exported({**ADA, "email": f"{first}x@example.com"}).split(b"\r\n", 1)[1].lstrip(b'"')
    assert cell.startswith(b"'" + first.encode())


@given(st.lists(st.tuples(NAMES, st.one_of(st.none(), NAMES)), min_size=1, max_size=4))
@hypothesis_settings(deadline=None, max_examples=60)
def test_read_back(names: list[tuple[str, str | None]]) -> None:
    """Each value comes back as it was, in both forms."""
    users = [{**ADA, "first_name": first, "last_name": last} for first, last in names]
    for form in ("csv", "jsonl"):
        cells = cells_of(exported(*users, form=form))
        assert [cell["first_name"] for cell in cells] == [first for first, _ in names]
        assert [cell.get("last_name") for cell in cells] == [last for _, last in names]
