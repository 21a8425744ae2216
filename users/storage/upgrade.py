"""Upgrades of the schema: one process at a time, after a copy of the file. Servers start here.

A migration is made whole or not at all. One that takes long is made in steps: interrupted, it goes on the next time.
"""

import contextlib
import errno
import fcntl
import logging
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import alembic.command
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from flask import Flask
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError

from users import logs
from users.errors import READ_ONLY, Unavailable
from users.storage import causes, database, driver_errors, postgres, schema_version
from users.storage.private_files import open_private
from users.storage.schema_version import HEAD

STUCK = (
    "The database could not be upgraded and is as it was. Does it hold tables that are not Enrol's? "
    "Set DATABASE_URL to a database of its own."
)
_WRITE_PROTECTED = {errno.EACCES, errno.EPERM, errno.EROFS}
_UPGRADE_LOCK = 0x656E726F6C  # "enrol" in ASCII: the number of the advisory lock on Postgres
PAUSE_SECONDS = 0.1  # before another process asks for that lock again
_NO_LIMITS = text(  # of how long a transaction may be open; older servers have only one of them
    "SELECT set_config(name, '0', true) FROM pg_settings "
    "WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout')"
)


def prepare(app: Flask) -> bool:
    """Create or upgrade a SQLite file; on Postgres only look whether the database can be used.

    Return whether it can be read. If it cannot be used, the server starts anyway: one sentence on stderr gives the
    reason, and requests get 503 until the database can be used.
    """
    with app.app_context():
        try:
            if database.sqlite_file():
                _upgrade(app)
            database.check()
        except Unavailable as error:
            logs.say(error.hint, level=logging.WARNING)
            return error.reason == READ_ONLY
        except CommandError as error:
            logs.say(str(error), level=logging.WARNING)
            return False
    return True


def make_tables(app: Flask) -> None:
    """Create the tables of a SQLite database that has none, a new or an empty file. Leave every other as it is.

    Raises Unavailable and, like `exclusive_migration`, CommandError.
    """
    if database.sqlite_file() and not database.has_tables():
        _upgrade(app)


def _upgrade(app: Flask) -> None:
    alembic.command.upgrade(app.extensions["migrate"].migrate.get_config(), "head")


@contextlib.contextmanager
def exclusive_migration(engine: Engine) -> Iterator[Connection]:
    """Yield the connection to migrate on. Other processes that want to migrate wait.

    A new SQLite file gets mode 0600. An existing one is copied first if it holds rows and is not at HEAD. Raises
    CommandError, which Alembic's commands print as one line, when the database cannot be used.
    """
    try:
        with (
            driver_errors.translate_errors(),
            _lock_file(engine),
            _advisory_lock(engine),
            _connection(engine) as connection,
        ):
            found = MigrationContext.configure(connection).get_current_revision()
            if refusal := schema_version.why_not_upgradable(found):
                raise CommandError(refusal)
            with _migrating():
                yield connection
                connection.commit()
    except Unavailable as error:
        raise CommandError(error.hint) from None


@contextlib.contextmanager
def _advisory_lock(engine: Engine) -> Iterator[None]:
    """Hold an advisory lock on Postgres, over all transactions of a migration; SQLite has the lock file instead.

    It is held by a transaction of a connection of its own: the session of a pooler may have other clients meanwhile.
    A process asks again and again: a statement that waits would hold up the CREATE INDEX CONCURRENTLY of another.
    """
    if engine.dialect.name != "postgresql":
        yield
        return
    connection = engine.connect()
    connection.detach()  # the pool may have no second one
    try:
        while not connection.scalar(text("SELECT pg_try_advisory_xact_lock(:number)"), {"number": _UPGRADE_LOCK}):
            connection.rollback()
            time.sleep(PAUSE_SECONDS)
        connection.execute(_NO_LIMITS)
        yield
    finally:
        with contextlib.suppress(DBAPIError):  # a lost connection must not hide the first error
            connection.close()


@contextlib.contextmanager
def _connection(engine: Engine) -> Iterator[Connection]:
    """Yield the connection to migrate on, where a statement may take long."""
    with engine.connect() as connection:
        if engine.dialect.name != "postgresql":
            yield connection
            return
        event.listen(connection, "begin", _lift_limit)
        try:
            yield connection
        finally:
            connection.invalidate()  # closes it, which ends what was set


def _lift_limit(connection: Connection) -> None:
    # Through a pooler, other clients may get the session. There the role's limit holds outside transactions.
    local = "" if postgres.is_direct(connection) else "LOCAL"
    connection.exec_driver_sql(f"SET {local} statement_timeout = 0")


@contextlib.contextmanager
def _migrating() -> Iterator[None]:
    """Raise CommandError if the database refuses a migration, and let errors of a database that is away pass."""
    try:
        yield
    except DBAPIError as error:
        if driver_errors.is_away(error):
            raise
        logs.unexpected(error)
        raise CommandError(STUCK) from None


@contextlib.contextmanager
def _lock_file(engine: Engine) -> Iterator[None]:
    """Hold the lock file of a SQLite database; Postgres has an advisory lock instead."""
    if engine.dialect.name != "sqlite":
        yield
        return
    path = Path(engine.url.database or "")
    try:
        with open(path.with_name(path.name + ".lock"), "a", opener=open_private) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _copy_if_behind(path)
            yield
    except (OSError, sqlite3.Error) as error:
        if getattr(error, "errno", None) in _WRITE_PROTECTED:
            raise driver_errors.read_only() from None
        raise driver_errors.unavailable(causes.find(error)) from None


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
            open(copy, "x", opener=open_private).close()
            connection.execute("VACUUM INTO ?", [str(copy)])
