"""Upgrades of the schema on both databases."""

import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy import bindparam, text

from app import create_app
from support.api import Api
from support.application import CHEAP, dispose, migrate
from support.command_line import run
from support.databases import execute, rows
from support.installations import Installation, installed
from support.people import make_key, make_user
from support.servers import BIN
from users import clock
from users.roles import Permission
from users.services.lists import user_search
from users.services.lists.asked import Asked
from users.storage import schema_version, upgrade
from users.storage.columns import UtcDateTime
from users.storage.models import db


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Installation]:
    """A copy of the application with a new instance folder; its servers are ended with the test."""
    with installed(tmp_path / "enrol") as made:
        yield made


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without tables, on SQLite and on Postgres."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/enrol.db"
    return str(request.getfixturevalue("empty_postgres"))


def test_head_is_the_newest_migration(app: Flask) -> None:
    assert ScriptDirectory(app.extensions["migrate"].directory).get_heads() == [schema_version.HEAD]


def test_migrations_match_the_models(app: Flask) -> None:
    with app.app_context(), db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, db.metadata) == []


def test_downgrade_and_upgrade(empty_url: str) -> None:
    """A running application notices both."""
    migrate(empty_url)
    app = create_app({**CHEAP, "DATABASE_URL": empty_url})
    api = Api(app.test_client(), make_key(app, Permission.USERS_CREATE))
    assert api.create().status_code == 201
    other = create_app({**CHEAP, "DATABASE_URL": empty_url})
    assert other.test_cli_runner().invoke(args=["db", "downgrade", "base"]).exit_code == 0
    assert api.create().status_code == 503
    assert rows_of_schema(app) == {"alembic_version"}
    assert other.test_cli_runner().invoke(args=["db", "upgrade"]).exit_code == 0
    api.key = make_key(app, Permission.USERS_CREATE)
    assert api.create().status_code == 201
    dispose(app)
    dispose(other)


def rows_of_schema(app: Flask) -> set[str]:
    """Return the names of all tables."""
    with app.app_context():
        return set(db.inspect(db.engine).get_table_names())


def test_upgrades_at_the_same_time(here: Installation, empty_url: str) -> None:
    """They wait for each other."""
    here.environment["DATABASE_URL"] = empty_url
    found = here.run_together([[str(BIN / "flask"), "db", "upgrade"]] * 2)
    assert [process.returncode for process in found] == [0, 0], found
    assert sum(process.stderr.count(f"Database brought to {schema_version.HEAD}.") for process in found) == 1
    app = create_app({**CHEAP, "DATABASE_URL": empty_url})
    assert rows_of_schema(app) == {"alembic_version", *db.metadata.tables}
    dispose(app)


def test_database_with_other_tables(here: Installation, empty_url: str) -> None:
    """It is left as it was."""
    app = create_app({**CHEAP, "DATABASE_URL": empty_url})
    with app.app_context(), db.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE api_keys (whose TEXT)")  # the second table of the migration
    here.environment["DATABASE_URL"] = empty_url
    ended = here.flask("db", "upgrade")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == f"Error: {upgrade.STUCK}"
    assert "Traceback" not in ended.stderr
    assert rows_of_schema(app) - {"alembic_version"} == {"api_keys"}
    dispose(app)


def _file_with_notes(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE notes (words TEXT)")
        connection.execute("INSERT INTO notes VALUES ('kept')")


def test_copy_before_migration(tmp_path: Path) -> None:
    """A SQLite file that holds rows is copied before its migration."""
    path = tmp_path / "enrol.db"
    _file_with_notes(path)
    path.with_name(f"enrol.db.before-{schema_version.HEAD}").write_text("an older copy, of an upgrade that failed")
    migrate(f"sqlite:///{path}")
    copy = path.with_name(f"enrol.db.before-{schema_version.HEAD}")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT words FROM notes").fetchall() == [("kept",)]
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("notes",)]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(schema_version.HEAD,)]
        assert connection.execute("SELECT words FROM notes").fetchall() == [("kept",)]


def test_no_copy_without_need(tmp_path: Path, migrated_sqlite: Path) -> None:
    """A SQLite file that is up to date or empty is not copied."""
    for name in ("new", "up to date"):
        path = tmp_path / f"{name}.db"
        if name == "up to date":
            shutil.copy(migrated_sqlite, path)
            app = create_app({**CHEAP, "DATABASE_URL": f"sqlite:///{path}"})
            make_key(app, Permission.USERS_CREATE)
            dispose(app)
        migrate(f"sqlite:///{path}")
    assert not list(tmp_path.glob("*before*"))


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("revision", "sentence"), [("9999", schema_version.NEWER), ("1975ea83b712", schema_version.FOREIGN)]
)
def test_schema_of_another(
    app: Flask, tmp_path: Path, caplog: pytest.LogCaptureFixture, revision: str, sentence: str
) -> None:
    """The database of a newer version, or of another program that uses Alembic, is left as it was."""
    make_user(app, "jo@example.com")
    execute(app, "UPDATE alembic_version SET version_num = :revision", revision=revision)
    fresh = create_app({**CHEAP, "DATABASE_URL": app.config["SQLALCHEMY_DATABASE_URI"]})
    assert run(fresh.test_cli_runner(), "users", "list").stderr.strip() == sentence
    assert run(fresh.test_cli_runner(), "db", "upgrade").exit_code == 1
    assert caplog.messages == [f"Error: {sentence}"]
    assert not list(tmp_path.glob("*.before-*"))
    assert rows(app, "SELECT email FROM users") == [("jo@example.com",)]
    assert rows(app, "SELECT version_num FROM alembic_version") == [(revision,)]
    dispose(fresh)


def test_search_keys_of_older_users(empty_url: str) -> None:
    """The migration gives older users their search keys."""
    app = create_app({**CHEAP, "DATABASE_URL": empty_url})
    migrating = app.test_cli_runner()
    assert migrating.invoke(args=["db", "upgrade", "0005"]).exit_code == 0
    columns = "id, email, email_key, first_name, password_hash, is_active, created_at, updated_at, deleted_at"
    at = clock.now()
    people = [
        {
            "id": f"usr_{n:032x}",
            "email": f"jo{n}@müller.example",
            "name": f"JO N{n}",
            "on": n != 1,
            "at": at,
            "gone": None,
        }
        for n in range(12_001)  # more than one batch
    ]
    people[2].update(on=False, gone=at)
    with app.app_context(), db.engine.begin() as connection:
        insert = f"INSERT INTO users ({columns}) VALUES (:id, :email, :email, :name, 'x', :on, :at, :at, :gone)"
        moments = [bindparam(name, type_=UtcDateTime) for name in ("at", "gone")]
        connection.execute(text(insert).bindparams(*moments), people)
    upgraded = migrating.invoke(args=["db", "upgrade"])
    assert upgraded.exit_code == 0, upgraded.output
    with app.app_context():
        for n, shown in ((0, "active"), (1, "deactivated"), (2, "deleted"), (6_000, "active"), (12_000, "active")):
            for asked in (f"JO{n}@", f"jo n{n}"):
                assert people[n]["id"] in [
                    user.id for user in user_search.find(Asked(text=asked, shown=shown)).page.rows
                ]
        assert str(user_search.find(Asked(text="müller", shown="deactivated")).counts["active"]) == "300+"
    dispose(app)


def test_upgrade_as_sql(empty_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A migration that computes cannot be written as SQL."""
    app = create_app({**CHEAP, "DATABASE_URL": empty_url})
    assert app.test_cli_runner().invoke(args=["db", "upgrade", "--sql"]).exit_code == 1
    assert "upgrade without --sql" in caplog.text
    dispose(app)
