"""The judgement of a row: what is kept of a good one, and that nothing is quoted of a bad one."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from support.bulk_rows import good_row
from users import clock, ids
from users.bulk import judging
from users.bulk.judging import Judge
from users.bulk.options import Options
from users.bulk.rows import BadRow, GoodRow, Row
from users.field_errors import FieldError, RowCode
from users.roles import ALL_PERMISSIONS, Permission, Role
from users.rules.validation import Rules

pytestmark = pytest.mark.one_database

BCRYPT = "$2b$12$abcdefghijklmnopqrstuu5r4Nfr9nYqW8EbhQ5mGzDh4c5uCdzXK"
ID = "usr_019012345678700a8000000000000001"
TIME = datetime(2026, 11, 29, 10, 30, tzinfo=UTC)


def judge(given: Mapping[str, object], *, permissions: frozenset[Permission] = ALL_PERMISSIONS, **options: Any) -> Any:
    """Return the judgement of row 7 with these cells, and an email and a hash unless they say otherwise."""
    cells = {"email": "jo@example.com", "password_hash": BCRYPT, **given}
    return Judge(Options(**options), Rules(), permissions).judge(Row(7, cells))


def codes(given: Mapping[str, object], **more: Any) -> list[tuple[str, str]]:
    """Return the errors of a bad row."""
    bad = judge(given, **more)
    assert isinstance(bad, BadRow), bad
    return [(one.field, str(one.code)) for one in bad.errors]


def test_all_that_a_row_can_say() -> None:
    given = {
        "email": " Jo@EXAMPLE.com ",
        "first_name": " Jo ",
        "last_name": "\u200b",
        "global_role_id": "role_auditor",
        "is_active": "False",
        "last_verified": "2026-11-29 10:30",
        "created_at": "2026-11-29T11:30:00+01:00",
        "id": ID,
    }
    expected = good_row(
        7,
        "Jo@example.com",
        first_name="Jo",
        role=Role.AUDITOR,
        is_active=False,
        last_verified=TIME,
        created_at=TIME,
        id=ID,
        password_hash=BCRYPT,
        password_make="bcrypt-12",
    )
    assert judge(given, keep_ids=True) == expected


@pytest.mark.parametrize("absent", ["", None])
def test_an_empty_cell_is_absent(absent: object) -> None:
    names = ("first_name", "last_name", "password", "global_role_id", "is_active", "last_verified", "created_at", "id")
    found = judge(dict.fromkeys(names, absent), keep_ids=True)
    assert found == judge({})
    assert (found.first_name, found.is_active, found.created_at, found.id) == (None, True, None, None)


def test_id_is_not_used_unless_ids_are_kept() -> None:
    assert judge({"id": "nonsense"}).id is None


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-29T10:30:00Z", TIME),
        ("2026-11-29t10:30:00z", TIME),
        ("2026-11-29 10:30:00.000000Z", TIME),
        ("2026-11-29T12:00:00+01:30", TIME),
        ("2026-11-29 10:30", TIME),
        ("2026-11-29 10:30:00.5", TIME + timedelta(milliseconds=500)),
        ("2026-11-29T10:30:00.1234567891Z", TIME + timedelta(microseconds=123_456)),
        ("2026-11-29", TIME.replace(hour=0, minute=0)),
        ("1970-01-01", datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_times(text: str, moment: datetime) -> None:
    assert judge({"created_at": text}).created_at == moment


@pytest.mark.parametrize(
    "text",
    [
        *("29.11.2026", "11/29/2026", "1764412200", "2026-11-29T10:30Z", "2026-11-29T10", "2026-11-29T10:30:00+01"),
        *("2026-02-30", "2026-13-01", "2026-11-29T24:00:00Z", "2026-11-29T10:30:60Z", "2026-11-29T10:30:00+24:00"),
        *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "1969-12-31T23:59:59Z", "yesterday", "2026-W48-7"),
        *("２０２６-11-29", "2026-11-29T10:30:00Z\n2026", "1970-01-01T00:00:00+00:01"),
    ],
)
def test_no_times(text: str) -> None:
    assert codes({"created_at": text, "last_verified": text}) == [
        ("last_verified", "INVALID_TIME"),
        ("created_at", "INVALID_TIME"),
    ]


def test_the_future() -> None:
    """Another machine's clock may be a minute ahead."""
    now = clock.now()
    assert isinstance(judge({"created_at": (now + timedelta(seconds=50)).isoformat()}), GoodRow)
    late = (now + timedelta(seconds=70)).isoformat()
    assert codes({"created_at": late, "last_verified": late}) == [
        ("last_verified", "TIME_IN_FUTURE"),
        ("created_at", "TIME_IN_FUTURE"),
    ]
    soon, later = (ids.new_id("usr", now + timedelta(seconds=one)) for one in (50, 70))
    assert judge({"id": soon}, keep_ids=True).id == soon
    assert codes({"id": later}, keep_ids=True) == [("id", "INVALID_ID")]


@pytest.mark.parametrize(
    "bad", ["usr_1", ID[4:], ID.upper(), ID.replace("700a", "400a"), ID.replace("a8", "a7"), f"evt_{ID[4:]}", f"{ID} "]
)
def test_ids(bad: str) -> None:
    assert codes({"id": bad}, keep_ids=True) == [("id", "INVALID_ID")]


def test_password_or_hash() -> None:
    assert codes({"password_hash": ""}) == [("password", "REQUIRED_FIELD")]
    assert codes({"password": "correct horse"}) == [("password_hash", "CONFLICTING_FIELDS")]
    assert codes({"password": "short"}) == [("password", "PASSWORD_TOO_SHORT"), ("password_hash", "CONFLICTING_FIELDS")]
    good = judge({"password_hash": None}, no_password=True)
    assert (good.password, good.password_hash, good.password_make) == (None, None, None)
    weak = "5f4dcc3b5aa765d61d8327deb882cf99"
    assert codes({"password_hash": weak}) == [("password_hash", "PASSWORD_HASH_WEAK")]
    assert judge({"password_hash": weak}, no_password=True) == good
    assert codes({"password_hash": "junk"}, no_password=True) == [("password_hash", "PASSWORD_HASH_UNSUPPORTED")]


@pytest.mark.parametrize(
    ("given", "is_active"), [(True, True), (False, False), (" TRUE ", True), ("0", False), ("1", True)]
)
def test_booleans(given: object, is_active: bool) -> None:
    assert judge({"is_active": given}).is_active is is_active


@pytest.mark.parametrize(
    ("given", "code"), [("yes", "INVALID_BOOLEAN"), ("on", "INVALID_BOOLEAN"), (1, "INVALID_TYPE")]
)
def test_no_booleans(given: object, code: str) -> None:
    assert codes({"is_active": given}) == [("is_active", code)]


def test_types() -> None:
    names = ("email", "first_name", "last_name", "password", "password_hash", "global_role_id", "is_active")
    times = ("last_verified", "created_at", "id")
    found = judge(dict.fromkeys((*names, *times), 7), keep_ids=True)
    assert [(one.field, str(one.code)) for one in found.errors] == [(name, "INVALID_TYPE") for name in (*names, *times)]
    assert found.errors[0].message == "Email address must be text (a JSON string)"


def test_roles() -> None:
    """Nobody gives a role that has more than they hold."""
    operator = Role.OPERATOR.permissions | {Permission.ROLES_ASSIGN, Permission.USERS_IMPORT}
    assert judge({"global_role_id": "role_operator"}, permissions=operator).role == Role.OPERATOR
    assert codes({"global_role_id": "role_admin"}, permissions=operator) == [("global_role_id", "ROLE_NOT_GRANTABLE")]
    without = operator - {Permission.ROLES_ASSIGN}
    assert codes({"global_role_id": "role_member"}, permissions=without) == [("global_role_id", "ROLE_NOT_GRANTABLE")]
    assert codes({"global_role_id": "boss"}, permissions=without) == [("global_role_id", "INVALID_ROLE")]


def test_errors_of_the_row() -> None:
    """A row that could not be read has no other errors; one with too many cells has its own too."""
    error = FieldError("row", RowCode.TOO_MANY_CELLS, "Row has 8 cells, the header 7")
    one = Judge(Options(), Rules(), ALL_PERMISSIONS)
    assert one.judge(Row(7, {}, (error,))) == BadRow(7, (error,))
    bad = one.judge(Row(7, {"email": "jo"}, (error,)))
    assert isinstance(bad, BadRow)
    assert [(one.field, str(one.code)) for one in bad.errors] == [
        ("row", "TOO_MANY_CELLS"),
        ("email", "INVALID_EMAIL_FORMAT"),
        ("password", "REQUIRED_FIELD"),
    ]
    assert bad.email == "jo"


def test_secrets_are_not_shown() -> None:
    secret = "correct horse battery"
    row = Row(7, {"email": "jo@example.com", "password": secret})
    good = Judge(Options(), Rules(), ALL_PERMISSIONS).judge(row)
    assert secret not in f"{row!r} {good!r} {judge({})!r} {judge({'password': secret})!r}"
    assert BCRYPT not in f"{row!r} {good!r} {judge({})!r}"


def test_names_that_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is judged alike each time, also when more were remembered than are kept."""
    monkeypatch.setattr(judging, "MOST_NAMES", 2)
    judge = Judge(Options(), Rules(), ALL_PERMISSIONS)
    for value, kept in [
        ("Jo", "Jo"),
        (" Jo", "Jo"),
        ("Zoë", "Zoë"),
        ("\u200b", None),
        ("Al", "Al"),
        (True, BadRow),
    ] * 3:
        for name in ("first_name", "last_name"):
            found = judge.judge(Row(7, {"email": "jo@example.com", "password_hash": BCRYPT, name: value}))
            assert (getattr(found, name) if isinstance(found, GoodRow) else BadRow) == kept
