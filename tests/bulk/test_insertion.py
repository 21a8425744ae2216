"""The insert of many users: the rows that a create writes, on both databases, whoever else inserts meanwhile."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from support.bulk_rows import good_row
from support.databases import execute, rows
from support.people import PASSWORD, Cast, as_actor, make_user
from users import clock, ids
from users.actors import Actor, terminal
from users.bulk import insertion
from users.bulk.insertion import Fate, Result
from users.bulk.options import Options
from users.bulk.rows import GoodRow
from users.field_errors import FieldCode, RowCode
from users.roles import Permission, Role
from users.rules import validation
from users.services import user_creation
from users.storage import database

OPERATOR = terminal("req_test00000000")
OLD_ID = "usr_01900000000070008000000000000001"


def insert(
    app: Flask,
    given: Sequence[GoodRow],
    hashes: dict[int, str] | None = None,
    *,
    options: Options | None = None,
    actor: Actor = OPERATOR,
    show_user_id: bool = True,
) -> list[Result]:
    """Insert the rows in one transaction."""
    now = clock.now()
    with app.app_context(), database.writing() as connection:
        return insertion.insert(
            connection,
            given,
            insertion.users_of(given, hashes or {}, now),
            options=options or Options(),
            actor=actor,
            request_id="imp_test",
            now=now,
            show_user_id=show_user_id,
        )


def row_of(app: Flask, table: str, **where: str) -> dict[str, Any]:
    """Return all columns of one row, as they are stored."""
    ((column, value),) = where.items()
    (found,) = rows(app, f"SELECT * FROM {table} WHERE {column} = :value", value=value)
    return dict(found._mapping)


FULL = {
    "first_name": "Zoë",
    "last_name": "Łąg-O’Brien",
    "global_role_id": Role.AUDITOR,
}


@pytest.mark.parametrize(
    ("given", "has_password"), [(FULL, True), (FULL, False), ({}, True), ({"last_name": "Ng"}, False)]
)
def test_same_row_as_a_create(app: Flask, cast: Cast, given: dict[str, Any], has_password: bool) -> None:
    actor = as_actor(app, cast.ada)
    values = {"email": "Zoë@bücher.example.com", **given, **({"password": PASSWORD} if has_password else {})}
    fields = validation.ADMIN_FIELDS if has_password else validation.ADMIN_INVITE_FIELDS
    with app.app_context():
        created = user_creation.create_user(validation.new_user(values, validation.Rules(), fields=fields), actor=actor)
    expected = row_of(app, "users", id=created.id), row_of(app, "audit_events", target_id=created.id)
    execute(app, "UPDATE users SET deleted_at = created_at, email_key = 'other' WHERE id = :id", id=created.id)
    good = good_row(
        2,
        "Zoë@bücher.example.com",
        first_name=given.get("first_name"),
        last_name=given.get("last_name"),
        role=given.get("global_role_id"),
        created_at=created.created_at,
    )
    hashes = {2: created.password_hash} if has_password else {}
    (result,) = insert(app, [good], hashes, actor=replace(actor, request_id="imp_test"))
    assert result.fate == Fate.CREATED
    assert result.user_id
    found = row_of(app, "users", id=result.user_id), row_of(app, "audit_events", target_id=result.user_id)
    # All but the random part of the ids, and the times of the act.
    assert found[0]["id"][4:20] != ""
    _same(found[0], expected[0], but={"id", "updated_at"})
    _same(found[1], expected[1], but={"id", "target_id", "at", "request_id"})
    assert found[1]["request_id"] == "imp_test"
    assert result.as_user() == {**created.as_user(), "id": result.user_id, "updated_at": result.as_user()["updated_at"]}
    for time in ("created_at", "updated_at"):
        assert type(found[0][time]) is type(expected[0][time])
        assert len(str(found[0][time])) == len(str(expected[0][time]))


def _same(found: dict[str, Any], expected: dict[str, Any], *, but: set[str]) -> None:
    assert {name: one for name, one in found.items() if name not in but} == {
        name: one for name, one in expected.items() if name not in but
    }


def test_what_only_an_import_can_say(app: Flask) -> None:
    created, verified = datetime(2019, 5, 1, 10, 30, tzinfo=UTC), datetime(2020, 1, 1, 0, 0, 0, 5, tzinfo=UTC)
    good = good_row(
        2,
        "jo@example.com",
        is_active=False,
        created_at=created,
        last_verified=verified,
        password_hash="$2b$12$" + "a" * 53,
        password_make="bcrypt-12",
    )
    (result,) = insert(app, [good])
    assert result.user_id
    assert ids.moment_of(result.user_id) == created
    found = row_of(app, "users", id=result.user_id)
    assert (found["password_hash"], found["password_make"]) == (good.password_hash, "bcrypt-12")
    assert found["segment"] == 4 * 1 + 2 * 0 + 1
    shown = result.as_user()
    assert (shown["is_active"], shown["created_at"]) == (False, "2019-05-01T10:30:00Z")
    assert shown["last_verified"] == "2020-01-01T00:00:00Z"
    # The trigger of the database finds nothing to change.
    execute(app, "UPDATE users SET segment = 0 WHERE id = :id", id=result.user_id)
    assert row_of(app, "users", id=result.user_id)["segment"] == found["segment"]


def test_a_hash_of_our_own_has_no_make(app: Flask) -> None:
    (result,) = insert(app, [good_row(2, "jo@example.com", password=PASSWORD)], {2: "$argon2id$x"})
    assert row_of(app, "users", id=result.user_id or "")["password_make"] is None


def test_existing(app: Flask) -> None:
    jo = make_user(app, "jo@example.com")
    given = [good_row(2, "JO@example.com"), good_row(3, "new@example.com")]
    with app.app_context(), database.reading() as session:
        before = insertion.look_up(session, given, Options(), show_user_id=True)
    rejected, created = insert(app, given)
    assert before == [rejected, None]
    assert (rejected.fate, rejected.user_id, created.fate) == (Fate.REJECTED, jo.id, Fate.CREATED)
    assert [(one.field, one.code) for one in rejected.errors] == [("email", FieldCode.USER_ALREADY_EXISTS)]
    assert insert(app, given[:1], show_user_id=False)[0].user_id is None
    (existing,) = insert(app, given[:1], options=Options(skip_existing=True))
    assert (existing.fate, existing.user_id, existing.errors) == (Fate.EXISTING, jo.id, ())
    assert len(rows(app, "SELECT 1 FROM audit_events WHERE request_id = 'imp_test'")) == 1


def test_deleted_users_leave_their_email_and_keep_their_id(app: Flask) -> None:
    jo = make_user(app, "jo@example.com")
    execute(app, "UPDATE users SET deleted_at = created_at WHERE id = :id", id=jo.id)
    options = Options(keep_ids=True)
    (rejected,) = insert(app, [good_row(2, "jo@example.com", id=jo.id)], options=options)
    assert [(one.field, one.code) for one in rejected.errors] == [("id", RowCode.ID_ALREADY_EXISTS)]
    (created,) = insert(app, [good_row(2, "jo@example.com", id=OLD_ID)], options=options)
    assert created.user_id == OLD_ID


def test_role_taken_away_meanwhile(app: Flask, cast: Cast) -> None:
    demoted = as_actor(app, cast.ada).with_permissions(frozenset({Permission.USERS_IMPORT}))
    given = [good_row(2, "jo@example.com", role=Role.MEMBER), good_row(3, "new@example.com")]
    rejected, created = insert(app, given, actor=demoted)
    assert [(one.field, one.code) for one in rejected.errors] == [("global_role_id", RowCode.ROLE_NOT_GRANTABLE)]
    assert created.fate == Fate.CREATED


def test_many(app: Flask) -> None:
    """More than one look-up, in an order that is not that of the emails."""
    make_user(app, "u700@example.com")
    given = [good_row(number, f"u{number}@example.com") for number in reversed(range(2, 1_202))]
    results = insert(app, given)
    assert [one.fate for one in results].count(Fate.CREATED) == 1_199
    assert results[1_201 - 700].fate == Fate.REJECTED
    made = [one.user_id for one in results if one.fate == Fate.CREATED]
    assert made == sorted(made, key=str)  # in the order of the file
    assert rows(app, "SELECT count(*) FROM audit_events WHERE request_id = 'imp_test'")[0][0] == 1_199


def test_another_transaction_is_faster(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Postgres the first look does not see a user who is committed before the insert."""
    if app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite"):
        pytest.skip("SQLite's write lock is held from the start")
    look_up, looks = insertion.look_up, list[Any]()

    def look_and_be_late(*args: Any, **options: Any) -> Any:
        found = look_up(*args, **options)
        if not looks:
            make_user(app, "jo@example.com")
        looks.append(found)
        return found

    monkeypatch.setattr(insertion, "look_up", look_and_be_late)
    results = insert(app, [good_row(2, "ada@example.com"), good_row(3, "jo@example.com")])
    assert [one.fate for one in results] == [Fate.CREATED, Fate.REJECTED]
    assert len(looks) == 2
    assert rows(app, "SELECT count(*) FROM audit_events WHERE request_id = 'imp_test'")[0][0] == 1


def test_two_importers_at_once(app: Flask) -> None:
    """Two importers of the same rows in opposite orders: no deadlock, and each user is made once."""
    emails = [f"u{number}@example.com" for number in range(400)]
    both: list[list[Result]] = []
    barrier = threading.Barrier(2)

    def run(order: list[str]) -> None:
        found = []
        barrier.wait()
        for start in range(0, len(order), 100):
            some = order[start : start + 100]
            found += insert(app, [good_row(number, email) for number, email in enumerate(some)])
        both.append(found)

    threads = [threading.Thread(target=run, args=(order,)) for order in (emails, emails[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    fates = [one.fate for found in both for one in found]
    assert (fates.count(Fate.CREATED), fates.count(Fate.REJECTED)) == (400, 400)
    assert rows(app, "SELECT count(*), count(DISTINCT email_key) FROM users")[0] == (400, 400)
    assert rows(app, "SELECT count(*), count(DISTINCT target_id) FROM audit_events")[0] == (400, 400)


def test_time_in_the_id_is_that_of_the_creation() -> None:
    at = datetime(2001, 2, 3, 4, 5, 6, 789_999, tzinfo=UTC)
    assert ids.moment_of(ids.new_id("usr", at)) == at.replace(microsecond=789_000)
    later = [ids.new_id("usr", at + timedelta(microseconds=one)) for one in range(0, 999, 3)]
    assert later == sorted(later)
    assert all(ids.is_version_7(one) for one in later)
