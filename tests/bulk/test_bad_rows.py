"""The table of bad rows is whole, and the judgement says what it says."""

import pytest

from support import bad_rows
from support.bad_rows import ANY, BATCH, ROWS, BadRow
from support.bulk_rows import good_row
from users.bulk.duplicates import Seen
from users.bulk.judging import Judge
from users.bulk.options import Options
from users.bulk.rows import BadRow as Judged
from users.bulk.rows import Row
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
