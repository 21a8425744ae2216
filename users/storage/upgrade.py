"""From one schema to the next: alone, after a copy, all or nothing. Whoever serves begins here."""

import contextlib
import fcntl
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import alembic.command
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from flask import Flask
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from users import logs
from users.errors import Unavailable
from users.storage import database, driver_errors, drivers, schema_version
from users.storage.schema_version import HEAD, NEWER

STUCK = (
    "The database could not be upgraded and is as it was. Does it hold tables that are not Enrol's? "
    "Set DATABASE_URL to a database of its own."
)
_UPGRADE_LOCK = 0x656E726F6C  # "enrol", the number of the advisory lock on Postgres


def prepare(app: Flask) -> bool:
    """Make the database ready to serve: a SQLite file is made or brought up to date, Postgres only looked at.

    Return whether it can be used. One that is away or behind stops nothing: one sentence says so on stderr, and
    requests get 503 until it is there.
    """
    with app.app_context():
        try:
            if database.sqlite_file():
                alembic.command.upgrade(app.extensions["migrate"].migrate.get_config(), "head")
            with database.reading():
                return True
        except Unavailable as error:
            logs.say(error.hint)
        except CommandError as error:
            logs.say(str(error))
    return False


@contextlib.contextmanager
def exclusive_migration(engine: Engine) -> Iterator[Connection]:
    """Yield a connection in the transaction to migrate in, while every other process that wants to migrate waits.

    A SQLite file is made with mode 0600, or copied beside itself first if it holds rows and is behind. Raises
    CommandError, which Alembic's commands print as one line, when the database cannot be used.
    """
    try:
        with driver_errors.translate_errors(), _lock_file(engine), engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL statement_timeout = 0"))  # others migrate as long as they need
                connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _UPGRADE_LOCK})
            if schema_version.is_newer(MigrationContext.configure(connection).get_current_revision()):
                raise CommandError(NEWER)
            with _migrating():
                yield connection
    except Unavailable as error:
        raise CommandError(error.hint) from None


@contextlib.contextmanager
def _migrating() -> Iterator[None]:
    """Tell a migration that the database refuses from a database that cannot be used."""
    try:
        yield
    except DBAPIError as error:
        if driver_errors.is_away(error):
            raise
        logs.unexpected(error)
        raise CommandError(STUCK) from None


@contextlib.contextmanager
def _lock_file(engine: Engine) -> Iterator[None]:
    """Hold the lock file of a SQLite database; on Postgres an advisory lock does it."""
    if engine.dialect.name != "sqlite":
        yield
        return
    path = Path(engine.url.database or "")
    try:
        with open(path.with_name(path.name + ".lock"), "a", opener=drivers.private) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _copy_if_behind(path)
            yield
    except (OSError, sqlite3.Error):
        raise Unavailable(driver_errors.AWAY) from None


def _copy_if_behind(path: Path) -> None:
    """Copy a SQLite database that holds rows and is not at HEAD to `<name>.before-<HEAD>`."""
    if not path.exists():
        return
    with contextlib.closing(sqlite3.connect(path)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        at_head = (
            "alembic_version" in tables
            and connection.execute("SELECT 1 FROM alembic_version WHERE version_num >= ?", [HEAD]).fetchone()
        )
        rows = any(
            connection.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone()  # noqa: S608  (the file's own tables)
            for name in tables - {"alembic_version"}
        )
        if rows and not at_head:
            copy = path.with_name(f"{path.name}.before-{HEAD}")
            copy.unlink(missing_ok=True)
            open(copy, "x", opener=drivers.private).close()
            connection.execute("VACUUM INTO ?", [str(copy)])
