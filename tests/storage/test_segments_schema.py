"""The segments of users beside code of the version before, and the migration that brings them, stopped anywhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import product
from typing import Any

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskCliRunner
from sqlalchemy import event

from support.databases import execute, rows
from support.people import make_user
from users import clock
from users.rules import search_keys
from users.services import cleanup
from users.storage import database
from users.storage.models import Status, User, db, segments

OLDER = "0010"
# What code of schema 0010 writes.
INSERT = """
INSERT INTO users (id, email, email_key, first_name, last_name, password_hash, is_active, last_verified, created_at,
    updated_at, deleted_at, search_email, search_domain, search_name, search_last_name)
VALUES (:id, :email, :email, 'Ann', 'Jones', :hash, :active, :verified, :at, :at, :deleted, :email, 'mail.example.org',
    'ann jones', 'jones')
"""
UPDATE = """
UPDATE users SET is_active = :active, deleted_at = :deleted, last_verified = :verified, password_hash = :hash
WHERE id = :id
"""
KINDS = list(product(Status, (True, False), (True, False)))


def values(status: Status, verified: bool, has_password: bool) -> dict[str, Any]:
    """Return what older code writes of a user of this kind."""
    at: datetime = clock.now()
    return {
        "active": status == Status.ACTIVE,
        "deleted": at if status == Status.DELETED else None,
        "verified": at if verified else None,
        "hash": "x" if has_password else "",
    }


def execute_older(app: Flask, statement: str, **given: Any) -> None:
    """Write as older code does."""
    execute(app, statement, **{name: value for name, value in given.items() if f":{name}" in statement})


def insert_older(app: Flask, number: int, kind: tuple[Status, bool, bool] = (Status.ACTIVE, False, True)) -> str:
    """Let older code make a user, and return the id."""
    user_id = f"usr_{number:032x}"
    nulls = {name: value for name, value in values(*kind).items() if value is None}
    statement = INSERT
    for name in nulls:
        statement = statement.replace(f":{name}", "NULL")
    execute_older(app, statement, id=user_id, email=f"ann{number}@mail.example.org", at=clock.now(), **values(*kind))
    return user_id


def update_older(app: Flask, user_id: str, kind: tuple[Status, bool, bool]) -> None:
    """Let older code change a user."""
    statement = UPDATE
    for name, value in values(*kind).items():
        if value is None:
            statement = statement.replace(f":{name}", "NULL")
    execute_older(app, statement, id=user_id, **values(*kind))


def segment_of(app: Flask, user_id: str) -> int:
    """Return the user's segment as the database has it."""
    return int(rows(app, "SELECT segment FROM users WHERE id = :id", id=user_id)[0].segment)


def wanted(kind: tuple[Status, bool, bool]) -> int:
    """Return the one segment of this kind."""
    (one,) = segments([kind[0]], verified=kind[1], has_password=kind[2])
    return one


def test_kinds_are_twelve() -> None:
    assert sorted(map(wanted, KINDS)) == list(range(12))


def test_older_inserts(app: Flask) -> None:
    found = {kind: segment_of(app, insert_older(app, number, kind)) for number, kind in enumerate(KINDS)}
    assert found == {kind: wanted(kind) for kind in KINDS}


def test_older_updates(app: Flask) -> None:
    user_id = insert_older(app, 1)
    for kind in [*KINDS, *reversed(KINDS), *KINDS[::5], *KINDS[::7]]:
        update_older(app, user_id, kind)
        assert segment_of(app, user_id) == wanted(kind), kind


def test_one_column_each(app: Flask) -> None:
    user_id = insert_older(app, 1)
    for change, kind in {
        "password_hash = ''": (Status.ACTIVE, False, False),
        "last_verified = created_at": (Status.ACTIVE, True, False),
        "is_active = false": (Status.DEACTIVATED, True, False),
        "deleted_at = created_at": (Status.DELETED, True, False),
        "deleted_at = NULL": (Status.DEACTIVATED, True, False),
        "is_active = true, password_hash = 'x', last_verified = NULL": (Status.ACTIVE, False, True),
    }.items():
        execute(app, f"UPDATE users SET {change} WHERE id = :id", id=user_id)
        assert segment_of(app, user_id) == wanted(kind), change


def test_by_the_model(app: Flask) -> None:
    user_id = make_user(app, "jo@example.com").id
    assert segment_of(app, user_id) == wanted((Status.ACTIVE, False, True))
    for name, value, kind in (
        ("last_verified", clock.now(), (Status.ACTIVE, True, True)),
        ("is_active", False, (Status.DEACTIVATED, True, True)),
        ("password_hash", "", (Status.DEACTIVATED, True, False)),
        ("deleted_at", clock.now(), (Status.DELETED, True, False)),
    ):
        with app.app_context(), database.transaction() as session:
            setattr(session.get_one(User, user_id), name, value)
        assert segment_of(app, user_id) == wanted(kind), name


def test_clean_up_fills(app: Flask) -> None:
    """Users whom older code made after the upgrade get their search keys."""
    ids = [insert_older(app, number) for number in range(3)]
    asked = "SELECT id, search_parents, search_last_name FROM users ORDER BY id"
    assert rows(app, asked) == [(user_id, None, "jones") for user_id in ids]
    with app.app_context():
        cleanup.fill_search_keys()
    assert rows(app, asked) == [(user_id, "org.example.mail.", "jones ann") for user_id in ids]


@contextmanager
def stopped_before_each(app: Flask, seen: set[str]) -> Iterator[None]:
    """Stop a migration before each statement that none has come to yet."""

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if statement not in seen:
            seen.add(statement)
            raise RuntimeError(statement)

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    yield
    event.remove(engine, "before_cursor_execute", note)


def assert_whole(app: Flask) -> None:
    """All users have the segments and the search keys that are theirs."""
    for user in rows(app, "SELECT * FROM users"):
        status = Status.DELETED if user.deleted_at else Status.ACTIVE if user.is_active else Status.DEACTIVATED
        assert user.segment == wanted((status, user.last_verified is not None, user.password_hash != ""))
        keys = search_keys.keys(user.id, user.email, user.first_name, user.last_name)
        assert {name: getattr(user, name) for name in keys} == keys


def test_stopped_anywhere(app: Flask, runner: FlaskCliRunner) -> None:
    """The next upgrade goes on. Older code writes in between."""
    assert runner.invoke(args=["db", "downgrade", OLDER]).exit_code == 0
    for number, kind in enumerate(KINDS):
        insert_older(app, number, kind)
    seen: set[str] = set()
    for tried in range(1, 200):
        with stopped_before_each(app, seen):
            ended = runner.invoke(args=["db", "upgrade", "0011"])
        if ended.exit_code == 0:
            break
        insert_older(app, 1000 * tried, KINDS[tried % 12])
        update_older(app, f"usr_{tried % 12:032x}", KINDS[-tried % 12])
    assert len([one for one in seen if "INDEX" in one]) == 14  # eight are made, six replaced
    assert_whole(app)
    assert runner.invoke(args=["db", "downgrade", OLDER]).exit_code == 0
    assert runner.invoke(args=["db", "upgrade"]).exit_code == 0
    assert_whole(app)


def test_next_schema_stopped_anywhere(app: Flask, runner: FlaskCliRunner) -> None:
    """The upgrade to 0012 goes on too."""
    assert runner.invoke(args=["db", "downgrade", "0011"]).exit_code == 0
    insert_older(app, 1)
    seen: set[str] = set()
    for _ in range(100):
        with stopped_before_each(app, seen):
            ended = runner.invoke(args=["db", "upgrade"])
        if ended.exit_code == 0:
            break
    assert any("ix_users_password_make" in one for one in seen)
    with app.app_context():
        assert "ix_users_password_make" in {one["name"] for one in db.inspect(db.engine).get_indexes("users")}
        assert "imports" in db.inspect(db.engine).get_table_names()


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_index_that_was_not_finished(app: Flask, runner: FlaskCliRunner, database_url: str) -> None:
    """It is made anew."""
    assert runner.invoke(args=["db", "downgrade", OLDER]).exit_code == 0
    for number in range(2):
        insert_older(app, number)
    with psycopg.connect(database_url, autocommit=True) as connection, pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute("CREATE UNIQUE INDEX CONCURRENTLY ix_users_segment_email ON users (last_name)")
    assert rows(app, "SELECT 1 FROM pg_index WHERE NOT indisvalid")
    assert runner.invoke(args=["db", "upgrade"]).exit_code == 0
    assert rows(app, "SELECT 1 FROM pg_index WHERE NOT indisvalid") == []
    ((made,),) = rows(app, "SELECT pg_get_indexdef('ix_users_segment_email'::regclass)")
    assert "(segment, search_email)" in made
    assert "UNIQUE" not in made


def test_downgrade(app: Flask, runner: FlaskCliRunner) -> None:
    """The indexes of older code are back."""

    def indexes() -> set[str | None]:
        with app.app_context():
            return {one["name"] for one in db.inspect(db.engine).get_indexes("users")}

    new = indexes()
    assert runner.invoke(args=["db", "downgrade", OLDER]).exit_code == 0
    older = indexes()
    assert runner.invoke(args=["db", "upgrade"]).exit_code == 0
    made = new - older - {"ix_users_password_make"}  # of the schema after
    assert (len(made), len(older - new), indexes()) == (8, 6, new)
