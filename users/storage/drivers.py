"""The two drivers made to behave alike: private files, durable writes, and waits that end in time."""

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

CONNECT_SECONDS = 2  # for each IP address of the host; psycopg accepts no less
SQLITE_BUSY_SECONDS = 3  # the longest wait of a read for another connection, which happens only after a crash
SHORT_WAIT_SECONDS = 0.02  # the longest wait for a lock of a write that may be left out
# The pause before asking SQLite for its write lock again. SQLite's own pauses grow to a tenth of a second: of 32
# clients who created users as fast as they could, one was still waiting after 3 seconds.
SQLITE_PAUSE_SECONDS = 0.001
COMPACT_SECONDS = 30  # the longest wait of `compact` for other writers, and again for other readers
IDLE_SECONDS = 1  # a connection to Postgres that was idle for longer is pinged before its next use

deadline: ContextVar[float | None] = ContextVar("deadline", default=None)  # of every wait, by `time.monotonic`


class DeadlineConnection(psycopg.Connection[Any]):
    """A psycopg connection that gives up and closes itself when the request's budget is used up.

    A frozen server (SIGSTOP) fires none of its time-outs, and the pool's ping hangs too: with all time-outs set, a
    query hung for more than 25 s. With this class the request gets its 503 within 5 s.
    """

    def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for the server for as long as the budget allows."""
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
    """Return the time, by `time.monotonic`, at which to stop waiting for a lock."""
    soon = time.monotonic() + SHORT_WAIT_SECONDS
    return deadline.get() or soon if wait else soon


def set_up(engine: Engine, statement_seconds: float) -> None:
    """Set up every connection of `engine`. Postgres ends a statement after `statement_seconds`."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "do_connect", _create_private_file)
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "do_connect", _connect_postgres)
        event.listen(engine, "connect", partial(_bound_statements, statement_seconds))
        event.listen(engine, "checkin", _note_idle)
        event.listen(engine, "checkout", partial(_ping_if_idle, engine.dialect))


def open_private(path: str, flags: int) -> int:
    """Open a file with mode 0600: the `opener` for `open`."""
    return os.open(path, flags, 0o600)


def _create_private_file(_dialect: object, _record: object, arguments: list[Any], _options: dict[str, Any]) -> None:
    """Create the file before SQLite does, with mode 0600; SQLite gives the -wal and -shm files the same mode.

    Only a file that does not exist: closing an existing one would drop all locks of this process on it (fcntl(2)).
    Another process that ends would then believe to be the last one and remove the write-ahead log, with all users in
    it, while this process uses it (https://sqlite.org/howtocorrupt.html, 2.2).
    """
    with contextlib.suppress(OSError):  # the file exists; SQLite reports all other errors better
        open(arguments[0], "x", opener=open_private).close()


def _set_up_sqlite(connection: DBAPIConnection, _record: object) -> None:
    connection.isolation_level = None  # _begin_sqlite sends BEGIN
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {SQLITE_BUSY_SECONDS * 1000}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")  # a 201 promises that the row is on disk
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA secure_delete = ON")  # overwrite deleted rows with zeros; not every build does so by default
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # When another process writes between a transaction's first read and its first write, the write fails at once,
    # whatever the busy timeout (SQLITE_BUSY_SNAPSHOT). So writers take the lock at their start.
    options = connection.get_execution_options()
    begin = options.get("sqlite_begin", "DEFERRED")
    if begin == "IMMEDIATE":
        _take_write_lock(connection, give_up_at(wait=options["sqlite_wait"]))
    elif begin:  # otherwise each statement is its own transaction
        connection.exec_driver_sql(f"BEGIN {begin}")


def _take_write_lock(connection: Connection, until: float) -> None:
    driver: Any = connection.connection.driver_connection  # asking through SQLAlchemy is slow
    driver.execute("PRAGMA busy_timeout = 0")
    try:
        while _is_busy(driver) and time.monotonic() < until:
            time.sleep(SQLITE_PAUSE_SECONDS)
        if not driver.in_transaction:
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # fails with SQLAlchemy's error
    finally:
        driver.execute(f"PRAGMA busy_timeout = {SQLITE_BUSY_SECONDS * 1000}")


def _is_busy(driver: sqlite3.Connection) -> bool:
    """Take the write lock. Tell whether another connection holds it."""
    try:
        driver.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        return _says_busy(error)
    return False


def compact(driver: sqlite3.Connection) -> bool:
    """Remove all but the existing rows from a SQLite file and its -wal; tell whether it succeeded.

    `secure_delete` misses the copies that stay in a page when SQLite moves a row to another page: of 4,000 users who
    were created, changed and erased, parts of 4 to 11 could still be read. VACUUM writes the whole file anew. The -wal
    keeps old pages until it is truncated, which is possible when no connection reads from it.
    """
    driver.execute("PRAGMA busy_timeout = 0")  # many short tries delay writers and readers least
    try:
        done = [_is_done_in_time(driver, one) for one in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)")]
        return all(done)  # both are tried: the second helps without the first
    finally:
        driver.execute(f"PRAGMA busy_timeout = {SQLITE_BUSY_SECONDS * 1000}")


def _is_done_in_time(driver: sqlite3.Connection, statement: str) -> bool:
    until = time.monotonic() + COMPACT_SECONDS
    with contextlib.suppress(sqlite3.Error):  # a full disk, for example
        while _is_held_up(driver, statement):
            if time.monotonic() >= until:
                return False
            time.sleep(SQLITE_PAUSE_SECONDS)
        return True
    return False


def _is_held_up(driver: sqlite3.Connection, statement: str) -> bool:
    """Run the statement. Tell whether another connection blocks it."""
    try:
        row = driver.execute(statement).fetchone()
    except sqlite3.Error as error:
        if not _says_busy(error):
            raise
        return True
    return row is not None and row[0] == 1  # https://sqlite.org/pragma.html#pragma_wal_checkpoint


def _says_busy(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF == sqlite3.SQLITE_BUSY  # the upper bits hold the reason, such as a recovery


def _connect_postgres(_dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> Any:
    end = deadline.get()
    if end is not None and time.monotonic() >= end:  # the pool connects again when its ping fails
        raise psycopg.OperationalError
    options.setdefault("connect_timeout", CONNECT_SECONDS)
    return DeadlineConnection.connect(*arguments, **options)


def _bound_statements(seconds: float, connection: Any, _record: object) -> None:
    """Let the server end statements that Enrol no longer waits for.

    Otherwise a statement that waits for a lock would keep its session while the pool opens another one: 16 connections
    became 64 sessions in 16 s of a locked table. It is no option of the connection, since PgBouncer refuses those.
    """
    connection.autocommit = True
    connection.execute(f"SET statement_timeout = {seconds * 1000:.0f}")
    connection.autocommit = False


def _note_idle(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info["idle_since"] = time.monotonic()


def _ping_if_idle(
    dialect: Dialect, connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: PoolProxiedConnection
) -> None:
    """Let the pool replace a connection that was lost while idle.

    SQLAlchemy's `pool_pre_ping` makes one more round trip before each use. Here a connection that was idle for less
    than IDLE_SECONDS is pinged only if its socket has data or was closed.
    """
    since = record.info.get("idle_since")
    # A new connection is not pinged: the pool takes two losses in a row for an error of the program.
    if since is None:
        return
    try:
        if time.monotonic() - since >= IDLE_SECONDS or not _is_quiet(connection):
            dialect.do_ping(connection)
    except psycopg.Error:
        raise DisconnectionError from None


def _is_quiet(connection: Any) -> bool:
    readable = select.poll()  # unlike epoll it needs no file descriptor, and all may be in use
    readable.register(connection, select.POLLIN)
    return not readable.poll(0)
