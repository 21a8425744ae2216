"""The audit trail: append-only on both databases, but for the address, which can be taken away."""

import pytest
from flask import Flask
from sqlalchemy.exc import IntegrityError

from conftest import execute, make_user, rewrite_audit, rows

COLUMNS = {
    "id": "'evt_1'",
    "at": "'2000-01-01 00:00:00'",
    "action": "'user.rename'",
    "outcome": "'refused'",
    "actor_kind": "'key'",
    "actor_user_id": "'usr_1'",
    "actor_key_id": "'akid_1'",
    "target_id": "NULL",
    "fields": "'[]'",
    "address": "'192.0.2.9'",
    "request_id": "NULL",
}


@pytest.fixture
def trail(app: Flask) -> str:
    """The id of an event with an address."""
    make_user(app, "jo@example.com")
    rewrite_audit(app, "UPDATE audit_events SET address = '192.0.2.7'")
    ((event_id,),) = rows(app, "SELECT id FROM audit_events")
    return str(event_id)


def refused(app: Flask, statement: str) -> bool:
    """Tell whether the database refuses the statement because of the trigger, and nothing has changed."""
    before = rows(app, "SELECT * FROM audit_events")
    try:
        execute(app, statement)
    except IntegrityError as error:
        assert "append-only" in str(error.orig)
        assert rows(app, "SELECT * FROM audit_events") == before
        return True
    return False


@pytest.mark.parametrize("column", COLUMNS)
def test_no_column_of_an_event_can_be_changed(app: Flask, trail: str, column: str) -> None:
    assert set(COLUMNS) == set(rows(app, "SELECT * FROM audit_events")[0]._fields)
    assert refused(app, f"UPDATE audit_events SET {column} = {COLUMNS[column]}")
    assert refused(app, f"UPDATE audit_events SET {column} = {COLUMNS[column]} WHERE id = '{trail}'")


def test_only_the_address_can_be_taken_away(app: Flask, trail: str) -> None:
    assert refused(app, "UPDATE audit_events SET address = NULL, action = 'user.rename'")
    (before,) = rows(app, "SELECT * FROM audit_events")
    execute(app, "UPDATE audit_events SET address = NULL")
    (after,) = rows(app, "SELECT * FROM audit_events")
    assert after._asdict() == {**before._asdict(), "address": None}
    assert refused(app, "UPDATE audit_events SET address = '192.0.2.7'")


@pytest.mark.usefixtures("trail")
def test_no_event_can_be_deleted(app: Flask) -> None:
    assert refused(app, "DELETE FROM audit_events")


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
@pytest.mark.usefixtures("trail")
def test_the_trail_cannot_be_truncated(app: Flask) -> None:
    assert refused(app, "TRUNCATE audit_events")


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_an_upsert_changes_no_event(app: Flask, trail: str) -> None:
    again = "INSERT INTO audit_events SELECT * FROM audit_events ON CONFLICT (id) DO UPDATE SET action = 'user.rename'"
    assert refused(app, again)
    assert trail


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", ["id", "rowid"])
@pytest.mark.usefixtures("trail")
def test_no_event_can_be_replaced(app: Flask, name: str) -> None:
    columns = ", ".join([*COLUMNS, "rowid"])
    values = ", ".join({**COLUMNS, "rowid": "77", name: name}.values())
    replace = f"INSERT OR REPLACE INTO audit_events ({columns}) SELECT {values} FROM audit_events"
    assert refused(app, replace)
    assert refused(app, "UPDATE OR REPLACE audit_events SET rowid = 77")
