"""The table of bad rows is whole, and the judgement says what it says."""

import io

import pytest

from support import bad_rows
from support.bad_rows import ANY, BATCH, ROWS, BadRow
from support.bulk_rows import good_row
from users.bulk.duplicates import Seen
from users.bulk.files.reading import look, read
from users.bulk.judging import Judge
from users.bulk.options import Options
from users.bulk.rows import BadRow as Judged
from users.bulk.rows import GoodRow, Row
from users.field_errors import FieldCode, RowCode
from users.roles import Permission
from users.rules.validation import Rules

pytestmark = pytest.mark.one_database

HELD = frozenset({Permission.USERS_IMPORT})
# Of other requests than imports, or of other settings than the default.
_NOT_HERE = {"EMAIL_DOMAIN_UNDELIVERABLE", "INVALID_IP_ADDRESS", "OUT_OF_RANGE", "PASSWORD_TOO_COMMON"}
_NOT_HERE |= {"PASSWORD_UNCHANGED"}
# What only the file, or the database, knows.
_ELSEWHERE = {"TOO_MANY_CELLS", "ROW_TOO_LARGE", "INVALID_JSON", "UNKNOWN_FIELD", "USER_ALREADY_EXISTS", "taken id"}
_JUDGED = [one for one in ROWS if BATCH in one.doors and not {one.name, one.errors[0][1]} & _ELSEWHERE]


def test_has_every_code() -> None:
    assert len(ROWS) >= 60
    assert len({one.name for one in ROWS}) == len(ROWS)
    assert {code for one in ROWS for _, code, _ in one.errors} == {*FieldCode, *RowCode} - _NOT_HERE


@pytest.mark.parametrize("bad", _JUDGED, ids=lambda bad: bad.name)
def test_judgement(bad: BadRow) -> None:
    judge = Judge(Options(keep_ids=True), Rules(), HELD)
    found = judge.judge(Row(7, bad_rows.cells_of(bad)))
    if isinstance(found, Judged):
        errors = found.errors
    else:
        seen = Seen()
        seen.add(good_row(2, bad_rows.FIRST, id=bad_rows.FIRST_ID))
        seen.add(found)
        errors = seen.first_of().errors(7)
    missing = ", ".join(sorted({*Permission} - HELD))
    assert [one.as_dict() for one in errors] == bad_rows.expected(bad, first=2, missing=missing)


def test_files_have_all_rows() -> None:
    rows = bad_rows.rows_of("csv")
    assert len(bad_rows.as_batch(rows)) == len(rows) + 1 == len(list(bad_rows.csv_numbers(rows))) + 1
    assert bad_rows.as_lines(rows).count("\n") == len(rows) + 1
    assert {"csv", "lines", "batch"} == set(ANY)


@pytest.mark.parametrize("door", [bad_rows.CSV, bad_rows.LINES])
def test_files(door: str) -> None:
    """The readers give each row to the judgement as it was meant: what only the database knows is a good row."""
    rows = bad_rows.rows_of(door, limited=True)
    text = bad_rows.as_csv(rows) if door == bad_rows.CSV else bad_rows.as_lines(rows)
    file, options, seen = io.BytesIO(text.encode()), Options(keep_ids=True), Seen()
    judge = Judge(options, Rules(), HELD)
    judged = [judge.judge(one.row) for one in read(file, look(file, options))]
    for one in judged:
        if isinstance(one, GoodRow):
            seen.add(one)
    first, *others = judged
    assert [one.number for one in others] == list(range(first.number + 1, first.number + 1 + len(rows)))
    missing = ", ".join(sorted({*Permission} - HELD))
    duplicates = seen.first_of()
    for bad, one in zip(rows, others, strict=True):
        if bad.name in ("taken", "taken id"):
            assert isinstance(one, GoodRow), bad.name
            continue
        errors = one.errors if isinstance(one, Judged) else duplicates.errors(one.number)
        found = [error.as_dict() for error in errors]
        assert found == bad_rows.expected(bad, first=first.number, missing=missing), bad.name
