"""The two drivers made to behave alike: a file that is private, writes that are durable, waits that end."""

import contextlib
import os
import select
import sqlite3
import time
from contextvars import ContextVar
from functools import partial
from typing import Any

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import Connection, Dialect, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

CONNECT_SECONDS = 2  # for each address that the host's name stands for; psycopg takes no less
SQLITE_BUSY_SECONDS = 3  # that a read waits for others, who have it wait only after a crash
SHORT_WAIT_SECONDS = 0.02  # that a write waits for a lock when it can as well be left out
# In which SQLite is asked again for its write lock. Its own pauses grow to a tenth of a second: of 32 clients who
# created users as fast as they could, the unlucky one was still waiting after three.
SQLITE_PAUSE_SECONDS = 0.001
COMPACT_SECONDS = 30  # of waiting for other writers, then for other readers, until `compact` gives up
IDLE_SECONDS = 1  # after which a connection to Postgres is asked whether it still lives before it is used again

deadline: ContextVar[float | None] = ContextVar("deadline", default=None)  # by `time.monotonic`, of every wait


class DeadlineConnection(psycopg.Connection[Any]):
    """A psycopg connection that gives up, and closes itself, when the request's budget is spent.

    Time-outs set on the server do not fire in a server that is frozen, and the pool's ping would hang with it.
    """

    def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        """Drive one exchange with the server for as long as the budget allows."""
        end = deadline.get()
        if end is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, max(0.0, end - time.monotonic()))
        except psycopg.OperationalError:
            if time.monotonic() >= end:
                self.close()
            raise


def give_up_at(*, wait: bool) -> float:
    """Return when, by `time.monotonic`, to wait no longer for a lock."""
    soon = time.monotonic() + SHORT_WAIT_SECONDS
    return deadline.get() or soon if wait else soon


def set_up(engine: Engine, statement_seconds: float) -> None:
    """Make every connection of `engine` one of these. Postgres is to end a statement after `statement_seconds`."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "do_connect", _make_private)
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "do_connect", _connect_postgres)
        event.listen(engine, "connect", partial(_bound_statements, statement_seconds))
        event.listen(engine, "checkin", _note_rest)
        event.listen(engine, "checkout", partial(_ask_if_idle, engine.dialect))


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
    cursor.execute("PRAGMA secure_delete = ON")  # zero what is deleted: not every SQLite is built to do so by itself
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once, whatever the busy timeout, when another process
    # wrote in between (SQLITE_BUSY_SNAPSHOT): writers take the lock at their start.
    options = connection.get_execution_options()
    begin = options.get("sqlite_begin", "DEFERRED")
    if begin == "IMMEDIATE":
        _take_write_lock(connection, give_up_at(wait=options["sqlite_wait"]))
    elif begin:  # else one statement, which is its own transaction
        connection.exec_driver_sql(f"BEGIN {begin}")


def _take_write_lock(connection: Connection, until: float) -> None:
    driver: Any = connection.connection.driver_connection  # SQLAlchemy takes long over each question
    driver.execute("PRAGMA busy_timeout = 0")
    try:
        while _is_busy(driver) and time.monotonic() < until:
            time.sleep(SQLITE_PAUSE_SECONDS)
        if not driver.in_transaction:
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # for an error of SQLAlchemy's
    finally:
        driver.execute(f"PRAGMA busy_timeout = {SQLITE_BUSY_SECONDS * 1000}")


def _is_busy(driver: sqlite3.Connection) -> bool:
    """Take the write lock, or tell whether it is because somebody has it that this cannot be done."""
    try:
        driver.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        return _says_busy(error)
    return False


def compact(driver: sqlite3.Connection) -> bool:
    """Leave nothing but the rows there are in a SQLite file and its -wal; tell whether that could be done.

    `secure_delete` does not reach the copies that stay in a page when SQLite moves a row to another one: of 4,000
    users who came, changed and went, something of 4 to 11 could still be read. VACUUM writes the whole file anew.
    The -wal keeps old pages until it is truncated, which is possible once nobody reads from it.
    """
    driver.execute("PRAGMA busy_timeout = 0")  # asked often, writers and readers are kept waiting least
    try:
        done = [_is_done_in_time(driver, one) for one in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)")]
        return all(done)  # the second is worth it without the first
    finally:
        driver.execute(f"PRAGMA busy_timeout = {SQLITE_BUSY_SECONDS * 1000}")


def _is_done_in_time(driver: sqlite3.Connection, statement: str) -> bool:
    until = time.monotonic() + COMPACT_SECONDS
    with contextlib.suppress(sqlite3.Error):  # the disk has no room for it, say
        while _is_held_up(driver, statement):
            if time.monotonic() >= until:
                return False
            time.sleep(SQLITE_PAUSE_SECONDS)
        return True
    return False


def _is_held_up(driver: sqlite3.Connection, statement: str) -> bool:
    """Run the statement, or tell that another connection is in its way."""
    try:
        row = driver.execute(statement).fetchone()
    except sqlite3.Error as error:
        if not _says_busy(error):
            raise
        return True
    return row is not None and row[0] == 1  # https://sqlite.org/pragma.html#pragma_wal_checkpoint


def _says_busy(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF == sqlite3.SQLITE_BUSY  # the upper bits tell with what: a recovery, say


def _connect_postgres(_dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> Any:
    end = deadline.get()
    if end is not None and time.monotonic() >= end:  # the pool tries anew when its ping fails
        raise psycopg.OperationalError
    options.setdefault("connect_timeout", CONNECT_SECONDS)
    return DeadlineConnection.connect(*arguments, **options)


def _bound_statements(seconds: float, connection: Any, _record: object) -> None:
    """Let the server end what is given up on here.

    One that waits for a lock would else stay there for as long, and the pool open another beside it. Not among the
    options of the connection, which PgBouncer refuses.
    """
    connection.autocommit = True
    connection.execute(f"SET statement_timeout = {seconds * 1000:.0f}")
    connection.autocommit = False


def _note_rest(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info["idle_since"] = time.monotonic()


def _ask_if_idle(
    dialect: Dialect, connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: PoolProxiedConnection
) -> None:
    """Let the pool replace a connection that was lost while nobody used it.

    SQLAlchemy's own ping asks the server each time, one trip more for each that is made. Here one that rested for a
    moment is asked only if the server has closed it or has something to say.
    """
    since = record.info.get("idle_since")
    # A new one is not asked: the pool takes a second loss in a row for a fault of the program.
    if since is None:
        return
    try:
        if time.monotonic() - since >= IDLE_SECONDS or not _is_quiet(connection):
            dialect.do_ping(connection)
    except psycopg.Error:
        raise DisconnectionError from None


def _is_quiet(connection: Any) -> bool:
    readable = select.poll()  # which takes no file descriptor, of which there may be none left
    readable.register(connection, select.POLLIN)
    return not readable.poll(0)
