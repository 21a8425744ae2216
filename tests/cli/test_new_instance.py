"""The first command on a new SQLite instance makes the tables, as a server does; no other database is touched."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app import create_app
from support.application import CHEAP, dispose
from support.command_line import run
from support.databases import execute
from support.installations import installed
from support.servers import BIN
from users.storage.schema_version import HEAD

MAKE_KEY = ("keys", "create", "ci", "--scope", "users:read")
BEHIND = "The database is not set up for this version of Enrol. Run: flask db upgrade\n"


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Flask]:
    """An application without a database file."""
    app = create_app({**CHEAP, "DATABASE_URL": f"sqlite:///{tmp_path}/enrol.db"})
    yield app
    dispose(app)


def flask(app: Flask, *args: str) -> Any:
    """Run `flask` with `args`."""
    return run(app.test_cli_runner(), *args)


def test_first_command_makes_the_tables(
    fresh: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """But `flask doctor` only looks, though it leaves an empty file. The file is private."""
    checked = flask(fresh, "doctor")
    assert (checked.exit_code, "Run: flask db upgrade" in checked.stdout) == (1, True)
    made = flask(fresh, *MAKE_KEY)
    assert (made.exit_code, made.stdout[:3]) == (0, "ak_")
    assert f"Database brought to {HEAD}.\n" in made.stderr + capfd.readouterr().err
    assert (tmp_path / "enrol.db").stat().st_mode & 0o777 == 0o600
    again = flask(fresh, "keys", "list")
    assert (again.exit_code, again.stderr + capfd.readouterr().err) == (0, "")
    execute(fresh, "UPDATE alembic_version SET version_num = '0001'")
    fresh.extensions["enrol.schema"].is_usable = False
    behind = flask(fresh, "users", "list")
    assert (behind.exit_code, behind.stdout, behind.stderr) == (1, "", BEHIND)


def test_tables_of_another_program(fresh: Flask, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "enrol.db")) as database:
        database.execute("CREATE TABLE theirs (id)")
    refused = flask(fresh, "users", "list")
    assert (refused.exit_code, refused.stdout, refused.stderr) == (1, "", BEHIND)
    with closing(sqlite3.connect(tmp_path / "enrol.db")) as database:
        assert database.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]


def test_no_database(tmp_path: Path) -> None:
    """A file that cannot be made, or is no database, ends in a sentence."""
    (tmp_path / "text.db").write_text("no database, but a text of some length\n" * 100)
    for path in ("/nowhere/enrol.db", f"{tmp_path}/text.db"):
        app = create_app({**CHEAP, "DATABASE_URL": f"sqlite:///{path}"})
        refused = flask(app, "users", "list")
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert "went wrong" not in refused.stderr
        dispose(app)


def test_postgres_is_not_touched(empty_postgres: str) -> None:
    app = create_app({**CHEAP, "DATABASE_URL": empty_postgres})
    refused = flask(app, "users", "list")
    assert (refused.exit_code, refused.stdout, refused.stderr) == (1, "", BEHIND)
    dispose(app)


def test_two_first_commands_at_once(tmp_path: Path) -> None:
    with installed(tmp_path / "enrol") as here:
        done = here.run_together([[str(BIN / "flask"), *MAKE_KEY]] * 2)
        assert [one.returncode for one in done] == [0, 0], done
        with closing(sqlite3.connect(here.instance / "enrol.db")) as database:
            assert database.execute("SELECT count(*) FROM api_keys").fetchone() == (2,)
