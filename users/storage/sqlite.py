"""SQLite: private files, durable writes, and a write lock that is asked for until the deadline."""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Engine, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.exc import OperationalError

from users.storage.deadlines import give_up_at
from users.storage.private_files import open_private

BUSY_SECONDS = 3  # the longest wait of a read for another connection; a read waits only after a crash
# The pause before asking SQLite for its write lock again. SQLite's own pauses grow to a tenth of a second: of 32
# clients who created users as fast as they could, one was still waiting after 3 seconds.
PAUSE_SECONDS = 0.001
_PAGES_OF_A_CHECKPOINT = 1000  # SQLite's default
_BULK_CACHE_KIB = 64 * 1024  # SQLite's default is 2 MiB
COMPACT_SECONDS = 30  # the longest wait of `compact` for other writers, and again for other readers


def set_up(engine: Engine) -> None:
    """Set up every connection of `engine`."""
    event.listen(engine, "do_connect", _create_private_file)
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "handle_error", _leave_read_only)


def _create_private_file(_dialect: object, _record: object, arguments: list[Any], _options: dict[str, Any]) -> None:
    """Create the file before SQLite does, with mode 0600; SQLite gives the -wal and -shm files the same mode.

    Only a file that does not exist: closing an existing one would drop all locks of this process on it (fcntl(2)).
    Another process that ends would then believe to be the last one and remove the write-ahead log, with all users in
    it, while this process uses it (https://sqlite.org/howtocorrupt.html, 2.2).
    """
    with contextlib.suppress(OSError):  # the file exists; SQLite reports all other errors better
        open(arguments[0], "x", opener=open_private).close()


def _set_pragmas(connection: DBAPIConnection, _record: object) -> None:
    connection.isolation_level = None  # `_begin` sends BEGIN
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    _use_wal(cursor)
    cursor.execute("PRAGMA synchronous = FULL")  # a 201 promises that the row is on disk
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA secure_delete = ON")  # overwrite deleted rows with zeros; not every build does so by default
    cursor.close()


def _use_wal(cursor: DBAPICursor) -> None:
    """Use a write-ahead log. Where two processes make the file at once, SQLite refuses one without waiting."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            with _allowing(sqlite3.SQLITE_READONLY):  # a write-protected file can still be read
                cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not _says_busy(error) or time.monotonic() > until:
                raise
            time.sleep(PAUSE_SECONDS)
        else:
            return


def _leave_read_only(context: ExceptionContext) -> None:
    """Let the pool open the file anew: a connection made while the file was write-protected takes no writes ever."""
    if _primary_code(context.original_exception) == sqlite3.SQLITE_READONLY:
        context.is_disconnect = True


def _begin(connection: Connection) -> None:
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
        while not _try_write_lock(driver) and time.monotonic() < until:
            time.sleep(PAUSE_SECONDS)
        if not driver.in_transaction:
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # fails with SQLAlchemy's error
    finally:
        _wait_when_busy(connection)


def _wait_when_busy(connection: Connection) -> None:
    if not connection.invalidated:  # by `_leave_read_only`
        connection.connection.cursor().execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")


def _try_write_lock(driver: sqlite3.Connection) -> bool:
    """Try to take the write lock. Return False only if another connection holds it: then a later try may succeed."""
    try:
        driver.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        return not _says_busy(error)
    return True


@contextlib.contextmanager
def in_bulk(connection: Connection) -> Iterator[None]:
    """Keep more pages in memory, and let the commit not copy the write-ahead log to the file.

    The copying may take longer than the commit itself. The memory stays with the connection: only for a process that
    does little else.
    """
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA wal_autocheckpoint = 0")
    driver.execute(f"PRAGMA cache_size = -{_BULK_CACHE_KIB}")
    try:
        yield
    finally:
        with contextlib.suppress(sqlite3.Error):  # a lost connection must not hide the first error
            driver.execute(f"PRAGMA wal_autocheckpoint = {_PAGES_OF_A_CHECKPOINT}")


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
        driver.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")


def _is_done_in_time(driver: sqlite3.Connection, statement: str) -> bool:
    until = time.monotonic() + COMPACT_SECONDS
    with contextlib.suppress(sqlite3.Error):  # a full disk, for example
        while not _try_statement(driver, statement):
            if time.monotonic() >= until:
                return False
            time.sleep(PAUSE_SECONDS)
        return True
    return False


def _try_statement(driver: sqlite3.Connection, statement: str) -> bool:
    """Try to run the statement. Return False if another connection blocks it."""
    try:
        row = driver.execute(statement).fetchone()
    except sqlite3.Error as error:
        if not _says_busy(error):
            raise
        return False
    return row is None or row[0] != 1  # https://sqlite.org/pragma.html#pragma_wal_checkpoint


def require_writable(connection: Connection) -> None:
    """Raise OperationalError if the database takes no writes, which BEGIN IMMEDIATE does not tell. Writes nothing.

    Another writer that holds the lock shows that it does.
    """
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA busy_timeout = 0")
    try:
        with _allowing(sqlite3.SQLITE_BUSY):
            connection.exec_driver_sql("DELETE FROM alembic_version WHERE 0")
    finally:
        _wait_when_busy(connection)


@contextlib.contextmanager
def _allowing(code: int) -> Iterator[None]:
    """Go on after an error with this primary code."""
    try:
        yield
    except (sqlite3.Error, OperationalError) as error:
        if _primary_code(getattr(error, "orig", error)) != code:
            raise


def says_read_only(error: sqlite3.Error, url: str) -> bool:
    """Tell whether `error` came because the database at `url` is write-protected: the file, its folder or its disk."""
    code = _primary_code(error)
    # A file in WAL mode on a disk that is mounted read-only cannot even be opened: it has no place for its -shm.
    by_disk = code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR) and _is_disk_read_only(url)
    return code == sqlite3.SQLITE_READONLY or by_disk


def _is_disk_read_only(url: str) -> bool:
    try:
        return bool(os.statvfs(make_url(url).database or "").f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _says_busy(error: sqlite3.Error) -> bool:
    return _primary_code(error) == sqlite3.SQLITE_BUSY


def _primary_code(error: object) -> int:
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF  # the upper bits hold the reason, such as a recovery
