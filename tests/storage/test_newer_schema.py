"""A schema newer than the process: one that began at its own schema works on, so servers can be replaced one by one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from app import create_app
from support.api import Api, status_and_code
from support.application import CHEAP, dispose
from support.databases import execute
from users import __version__
from users.storage import schema_version, upgrade
from users.storage.models import db

MIGRATIONS = Path(schema_version.__file__).parent / "migrations" / "versions"
FIRST = "0007"  # the rule is younger than the migrations to it
NOT_READY = (503, {"status": "unavailable", "reason": "schema"})
READY = (200, {"status": "ok", "version": __version__})


@pytest.fixture
def newer(app: Flask, api: Api) -> Iterator[Flask]:
    """A running application whose database was upgraded by a newer version: a column, a table, its number."""
    assert api.get("/readyz").status_code == 200
    execute(app, "ALTER TABLE users ADD COLUMN nickname TEXT")
    execute(app, "CREATE TABLE nicknames (nickname TEXT PRIMARY KEY)")
    execute(app, "UPDATE alembic_version SET version_num = '9999'")
    yield app
    execute(app, "UPDATE alembic_version SET version_num = :head", head=schema_version.HEAD)
    execute(app, "DROP TABLE nicknames")
    execute(app, "ALTER TABLE users DROP COLUMN nickname")


def readiness(api: Api) -> tuple[int, object]:
    """Return the status and the body of /readyz."""
    answer = api.get("/readyz")
    return answer.status_code, answer.json


@pytest.mark.usefixtures("newer")
def test_running_process_works_on(api: Api) -> None:
    for n in range(3):
        assert api.create(email=f"jo{n}@example.com").status_code == 201
        assert readiness(api) == READY


def test_new_process_does_not(newer: Flask, capsys: pytest.CaptureFixture[str]) -> None:
    """It says so, and serves once the schema is its own."""
    late = create_app({**CHEAP, "DATABASE_URL": newer.config["SQLALCHEMY_DATABASE_URI"], "TESTING": True})
    stranger = Api(late.test_client(), None)
    assert not upgrade.prepare(late)
    assert schema_version.NEWER in capsys.readouterr().err
    assert readiness(stranger) == NOT_READY
    assert status_and_code(stranger.get("/v1/user/", key="ak_" + 40 * "0")) == (401, "AUTHENTICATION_REQUIRED")
    execute(newer, "UPDATE alembic_version SET version_num = :head", head=schema_version.HEAD)
    assert readiness(stranger) == READY
    execute(newer, "UPDATE alembic_version SET version_num = '9999'")
    assert readiness(stranger) == READY
    dispose(late)


def test_schema_that_breaks_it(newer: Flask, api: Api) -> None:
    """A process that misses what a newer version took away does not say that it is ready."""
    execute(newer, "ALTER TABLE users RENAME COLUMN first_name TO given_name")
    try:
        assert status_and_code(api.create()) == (503, "SERVICE_UNAVAILABLE")
        assert readiness(api) == NOT_READY
        assert status_and_code(api.create()) == (503, "SERVICE_UNAVAILABLE")
    finally:
        execute(newer, "ALTER TABLE users RENAME COLUMN given_name TO first_name")
    assert readiness(api) == NOT_READY
    execute(newer, "UPDATE alembic_version SET version_num = :head", head=schema_version.HEAD)
    assert readiness(api) == READY
    assert api.create().status_code == 201


def columns(table: Any) -> dict[str, tuple[str, bool]]:
    """Return the type of each column, and whether a row may be written without it."""
    return {one["name"]: (str(one["type"]), one["nullable"] or one["default"] is not None) for one in table["columns"]}


def rules(table: Any) -> list[str]:
    """Return what rows must not break."""
    unique = [("unique", one["column_names"]) for one in [*table["unique"], *table["indexes"]] if one.get("unique", 1)]
    return sorted(map(str, [*unique, *table["checks"], *table["keys"]]))


def tables(app: Flask) -> dict[str, Any]:
    """Return what the database says of each table."""
    with app.app_context(), db.engine.connect() as connection:
        found = db.inspect(connection)
        return {
            name: {
                "columns": found.get_columns(name),
                "unique": found.get_unique_constraints(name),
                "indexes": found.get_indexes(name),
                "checks": found.get_check_constraints(name),
                "keys": found.get_foreign_keys(name),
            }
            for name in found.get_table_names()
        }


def test_migrations_only_add(app: Flask, runner: FlaskCliRunner) -> None:
    """Older servers, which do not know what is new, still read and write the tables; an index costs them only time."""
    revisions = sorted(path.stem[:4] for path in MIGRATIONS.glob("*.py") if path.stem >= FIRST)
    assert runner.invoke(args=["db", "downgrade", FIRST]).exit_code == 0
    before = tables(app)
    for revision in revisions[1:]:
        assert runner.invoke(args=["db", "upgrade", revision]).exit_code == 0
        after = tables(app)
        for name, table in before.items():
            old, new = columns(table), columns(after[name])
            assert old.items() <= new.items(), (revision, name)
            assert [column for column in new.keys() - old.keys() if not new[column][1]] == [], (revision, name)
            assert rules(table) == rules(after[name]), (revision, name)
        before = after
