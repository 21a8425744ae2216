"""The two databases made to behave alike: durable, bounded in time, and honest when they cannot be used.

Everything the service reads or writes goes through `reading()` or `transaction()`.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from flask import Flask, current_app, g, has_request_context
from flask_migrate import Migrate
from psycopg.abc import PQGen
from sqlalchemy import Connection, Row, Select, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from users.errors import Unavailable
from users.models import db

HEAD = "0006"  # the migration that this code needs, the newest in users/migrations; their names sort by age

POOL_SIZE = 16  # connections of one process; none is held while a password is hashed
POOL_WAIT_SECONDS = 2
CONNECT_SECONDS = 2  # for each address that the host's name stands for; psycopg takes no less
SQLITE_BUSY_SECONDS = 3
BUDGET_SECONDS = 4.0  # of database time in one request: waiting for a connection, connecting and every statement

AWAY = (
    "The database cannot be used. Check DATABASE_URL, that its server runs, that its user may create and change "
    "tables there and that its disk is not full."
)
BEHIND = "The database is not set up for this version of Enrol. Run: flask db upgrade"
NEWER = "The database was made by a newer version of Enrol. Install that version, or restore a backup."

_SCHEMA_SQLSTATES = {"42P01", "42703"}  # undefined table, undefined column
_REFUSED_SQLSTATES = {"25006", "42501"}  # read-only transaction, insufficient privilege

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


@dataclass
class _Schema:
    """Whether the database was seen at HEAD: asked until it is so, then no more."""

    at_head: bool = False


class DeadlineConnection(psycopg.Connection[Any]):
    """A psycopg connection that gives up, and closes itself, when the request's budget is spent.

    Time-outs set on the server do not fire in a server that is frozen, and the pool's ping would hang with it.
    """

    def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        """Drive one exchange with the server for as long as the budget allows."""
        deadline = _deadline.get()
        if deadline is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, max(0.0, deadline - time.monotonic()))
        except psycopg.OperationalError:
            if time.monotonic() >= deadline:
                self.close()
            raise


def init_app(app: Flask, url: str) -> None:
    """Connect `app` to the database at `url`. Nothing is opened yet."""
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {
        "hide_parameters": True,  # an error's text must not hold what a statement wrote
        "pool_size": POOL_SIZE,
        "max_overflow": 0,
        "pool_timeout": POOL_WAIT_SECONDS,
        "pool_pre_ping": not url.startswith("sqlite"),
    }
    app.extensions["enrol.schema"] = _Schema()
    db.init_app(app)
    Migrate(app, db, directory=str(Path(__file__).with_name("migrations")))
    with app.app_context():
        engine = db.engine
    if engine.dialect.name == "sqlite":
        event.listen(engine, "do_connect", _make_private)
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "do_connect", _connect_postgres)


def private(path: str, flags: int) -> int:
    """Open a file that only this user may read: the `opener` of `open`."""
    return os.open(path, flags, 0o600)


def _make_private(_dialect: object, _record: object, arguments: list[Any], _options: dict[str, Any]) -> None:
    """Make the file before SQLite does, which would let other users read it; its -wal and -shm take on the mode.

    Only a file that is not there: closing one that is would drop all locks of this process on it (fcntl(2)). Another
    process that ends would then take itself for the last, and remove the write-ahead log under our feet, with every
    user in it (https://sqlite.org/howtocorrupt.html, 2.2).
    """
    with contextlib.suppress(OSError):  # it is there; or SQLite says it better
        open(arguments[0], "x", opener=private).close()


def _set_up_sqlite(connection: DBAPIConnection, _record: object) -> None:
    connection.isolation_level = None  # BEGIN is ours, see _begin_sqlite
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {SQLITE_BUSY_SECONDS * 1000}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")  # a 201 means that the row is on disk
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once, whatever the busy timeout, when another process
    # wrote in between (SQLITE_BUSY_SNAPSHOT): writers take the lock at their start.
    options = connection.get_execution_options()
    begin = options.get("sqlite_begin", "DEFERRED")
    if not begin:  # one statement, which is its own transaction
        return
    if not options.get("sqlite_patient", True):
        connection.exec_driver_sql("PRAGMA busy_timeout = 0")
    try:
        connection.exec_driver_sql(f"BEGIN {begin}")
    finally:
        if not options.get("sqlite_patient", True):
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {SQLITE_BUSY_SECONDS * 1000}")


def _connect_postgres(_dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> Any:
    deadline = _deadline.get()
    if deadline is not None and time.monotonic() >= deadline:  # the pool tries anew when its ping fails
        raise psycopg.OperationalError
    options.setdefault("connect_timeout", CONNECT_SECONDS)
    return DeadlineConnection.connect(*arguments, **options)


def sqlite_file() -> Path | None:
    """Return where the SQLite database lies, None on Postgres."""
    url = db.engine.url
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


@contextlib.contextmanager
def reading() -> Iterator[Session]:
    """Yield a session to read with; its connection is back in the pool at the end.

    Raises Unavailable when the database cannot be used.
    """
    with _connection() as connection, session_on(connection) as session:
        yield session


def find(statement: Select[*tuple[Any, ...]], **values: object) -> Row[Any] | None:
    """Return the first row of `statement`, or None.

    For what every request asks: without a session and a transaction it takes half the time. Raises Unavailable when
    the database cannot be used.
    """
    alone = {"sqlite_begin": ""} if db.engine.dialect.name == "sqlite" else {"isolation_level": "AUTOCOMMIT"}
    with _connection(**alone) as connection:
        return connection.execute(statement, values).first()


@contextlib.contextmanager
def transaction(*, patient: bool = True) -> Iterator[Session]:
    """Yield a session to write with and commit at the end; an exception rolls everything back.

    On SQLite the write lock is held from the start. A caller who is not `patient` waits for nobody's lock. Raises
    IntegrityError when a constraint refuses, and Unavailable when the database cannot be used, with the outcome
    unknown when the connection is lost during COMMIT.
    """
    with writing(patient=patient) as connection, session_on(connection) as session:
        yield session
        session.flush()


@contextlib.contextmanager
def writing(*, patient: bool = True) -> Iterator[Connection]:
    """Yield the bare connection of a `transaction`: for the act that must be quick."""
    with _connection(sqlite_begin="IMMEDIATE", sqlite_patient=patient) as connection:
        if not patient and connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL lock_timeout = '20ms'"))
        yield connection
        with honest(committing=True):
            connection.commit()


def session_on(connection: Connection) -> Session:
    """Return a session that works in the connection's transaction and leaves its end to whoever began it."""
    return Session(connection, join_transaction_mode="rollback_only")


@contextlib.contextmanager
def _connection(**options: Any) -> Iterator[Connection]:
    """Yield a connection to a database at HEAD; nobody commits what it did."""
    with _budget(), honest():
        _require_head()
        connection = db.engine.connect().execution_options(**options)
        try:
            connection.begin()
            yield connection
        finally:
            with honest():  # a rollback on a lost connection must not hide why it was lost
                connection.close()


def one_at_a_time(session: Session, number: int) -> None:
    """Hold back every other transaction that asks for the same `number`, until this one ends.

    On SQLite there is nothing to do: `transaction` holds the one write lock already.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})


def hint(revision: str | None) -> str:
    """Return what to do about a database that is not at HEAD but at `revision`."""
    return NEWER if revision is not None and revision > HEAD else BEHIND


def check() -> None:
    """Ask the database now whether it can be read and is at HEAD, or raise Unavailable with the reason.

    What was seen before and still works is not stopped by it: a server may go on under a newer schema while it is
    being replaced.
    """
    with _budget(), honest():
        _find_head()


def _require_head() -> None:
    if not current_app.extensions["enrol.schema"].at_head:
        _find_head()


def _find_head() -> None:
    schema: _Schema = current_app.extensions["enrol.schema"]
    with db.engine.connect() as connection:
        found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if found != HEAD:
        raise Unavailable(hint(found), reason="schema")
    schema.at_head = True


@contextlib.contextmanager
def _budget() -> Iterator[None]:
    """Bound the database's waits by what is left of the request's budget; outside a request by all of it."""
    start = time.monotonic()
    left: float = g.get("database_seconds", BUDGET_SECONDS) if has_request_context() else BUDGET_SECONDS
    token = _deadline.set(start + left)
    try:
        yield
    finally:
        _deadline.reset(token)
        if has_request_context():
            g.database_seconds = left - (time.monotonic() - start)


@contextlib.contextmanager
def honest(*, committing: bool = False) -> Iterator[None]:
    """Turn the drivers' errors of a database that cannot be used into Unavailable.

    Their texts may quote whole rows, the hash included, and end here.
    """
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        if not (is_schema(error) or is_away(error)):
            raise
        if is_schema(error):
            current_app.extensions["enrol.schema"].at_head = False
            raise Unavailable(BEHIND, reason="schema") from None
        lost = isinstance(error, DBAPIError) and error.connection_invalidated
        raise Unavailable(AWAY, outcome_unknown=committing and lost) from None


def is_violation(error: IntegrityError, constraint: str, *columns: str) -> bool:
    """Tell whether the unique `constraint` refused: Postgres names it, SQLite its columns, as `table.column`."""
    diagnostics = getattr(error.orig, "diag", None)
    if diagnostics is not None:
        return bool(diagnostics.constraint_name == constraint)
    return str(error.orig) == f"UNIQUE constraint failed: {', '.join(columns)}"


def is_schema(error: Exception) -> bool:
    """Tell whether a table or column is missing: on SQLite the general code 1 (its other uses are faults of ours)."""
    cause = getattr(error, "orig", None)
    sqlite_code = getattr(cause, "sqlite_errorcode", None)
    return sqlite_code == sqlite3.SQLITE_ERROR or getattr(cause, "sqlstate", None) in _SCHEMA_SQLSTATES


def is_away(error: Exception) -> bool:
    """Tell whether the database itself is at fault: not reached, refusing, full, locked or damaged."""
    cause = getattr(error, "orig", None)
    return (
        isinstance(error, OperationalError | InterfaceError | PoolTimeout)
        or getattr(cause, "sqlstate", None) in _REFUSED_SQLSTATES
        or type(cause) is sqlite3.DatabaseError  # not a database, or a damaged one
    )
