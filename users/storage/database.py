"""Access to the database in bounded time. All reads and writes use `reading`, `find`, `transaction` or `writing`.

Each of them raises Unavailable when the database cannot be used.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flask import Flask, current_app, g, has_request_context
from flask_migrate import Migrate
from sqlalchemy import Connection, Row, Select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from users import forks
from users.errors import READ_ONLY, Unavailable
from users.storage import abandoned_commits, causes, postgres, schema_version, sqlite
from users.storage.deadlines import BUDGET_SECONDS, SHORT_WAIT_SECONDS, at_most, deadline, give_up_at
from users.storage.driver_errors import read_only, translate_errors, unavailable
from users.storage.models import db

POOL_WAIT_SECONDS = 2
READ_ONLY_SECONDS = 5  # how long a refused write keeps writes that may be left out from being tried
SHORT_COMMIT_SECONDS = 2  # of a write that may be left out: the request goes on and has the rest of its budget


def init_app(app: Flask, url: str, *, connections: int) -> None:
    """Connect `app` to the database at `url`, with so many connections at most. Nothing is opened yet."""
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {
        "hide_parameters": True,  # error texts must not contain the values of a statement
        "pool_size": connections,
        "max_overflow": 0,
        "pool_timeout": POOL_WAIT_SECONDS,
        "pool_use_lifo": True,  # the connection used last is most likely alive
    }
    if url.startswith("postgresql"):
        app.config["SQLALCHEMY_ENGINE_OPTIONS"]["isolation_level"] = "READ COMMITTED"  # said in each BEGIN
    schema_version.init_app(app)
    _begin_process(app)
    app.extensions["enrol.no_writes_until"] = 0.0
    db.init_app(app)
    Migrate(app, db, directory=str(Path(__file__).with_name("migrations")))
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            sqlite.set_up(db.engine)
        else:
            postgres.set_up(db.engine)
    forks.register(app, before=_close_idle_connections, in_child=_connect_anew)


def _begin_process(app: Flask) -> None:
    on_sqlite = app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite")
    connections: int = app.config["SQLALCHEMY_ENGINE_OPTIONS"]["pool_size"]
    app.extensions["enrol.writers"] = threading.Semaphore(1 if on_sqlite else max(1, connections * 3 // 4))
    abandoned_commits.init_app(app)


def _close_idle_connections(app: Flask) -> None:
    """Keep connections out of a child: it must not even close one (https://sqlite.org/howtocorrupt.html, 2.6)."""
    with app.app_context():
        db.engine.dispose()


def _connect_anew(app: Flask) -> None:
    """Start a child with no connection and new locks: a thread of the parent may have held the old ones."""
    _begin_process(app)
    with app.app_context():
        db.engine.dispose(close=False)


def sqlite_file() -> Path | None:
    """Return the path of the SQLite database, None on Postgres."""
    url = db.engine.url
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def has_tables() -> bool:
    """Tell whether there are tables in the SQLite file, which is made if there is none. Raises Unavailable."""
    with translate_errors(), db.engine.connect() as connection:
        return connection.scalar(text("SELECT 1 FROM sqlite_schema LIMIT 1")) is not None


@contextlib.contextmanager
def reading() -> Iterator[Session]:
    """Yield a session to read with; its connection is back in the pool at the end.

    Reads run in autocommit: a read transaction would add two round trips on Postgres and no consistency. Do not write
    here, since a write would stay. Read each result to its end: on SQLite an open result would show the next reader
    the same old state again. Raises Unavailable when the database cannot be used.
    """
    with _connection(**_without_transaction()) as connection, session_on(connection) as session:
        yield session


def find(statement: Select[*tuple[Any, ...]], **values: object) -> Row[Any] | None:
    """Return the first row of `statement`, or None.

    For the reads of every request: without a session they take half the time. Raises Unavailable when the database
    cannot be used.
    """
    with _connection(**_without_transaction()) as connection:
        return connection.execute(statement, values).first()


def _without_transaction() -> dict[str, str]:
    return {"sqlite_begin": ""} if db.engine.dialect.name == "sqlite" else {"isolation_level": "AUTOCOMMIT"}


@contextlib.contextmanager
def transaction(*, wait: bool = True) -> Iterator[Session]:
    """Yield a session to write with and commit at the end; an exception rolls everything back.

    On SQLite the write lock is held from the start. `wait=False` gives up after 0.02 s on a lock that another writer
    holds. Raises IntegrityError when a constraint refuses, and Unavailable when the database cannot be used, with
    the outcome unknown when the connection is lost during COMMIT.
    """
    with writing(wait=wait) as connection, session_on(connection) as session:
        yield session
        session.flush()


@contextlib.contextmanager
def writing(*, wait: bool = True, bulk: bool = False) -> Iterator[Connection]:
    """Yield the connection of a `transaction` without a session, for an act that must be fast.

    `bulk` is for one of many that follow each other and write much: call `checkpoint` after some of them.
    """
    with (
        _unless_read_only(wait),
        _budget(),
        _writer(wait),
        abandoned_commits.one_at_a_time(db.engine, wait=wait),
        _connection(sqlite_begin="IMMEDIATE", sqlite_wait=wait) as connection,
        sqlite.in_bulk(connection) if bulk and sqlite_file() else contextlib.nullcontext(),
    ):
        if not wait and connection.dialect.name == "postgresql":
            connection.execute(text(f"SET LOCAL lock_timeout = '{SHORT_WAIT_SECONDS}s'"))
        yield connection
        longest = BUDGET_SECONDS if wait else SHORT_COMMIT_SECONDS
        with translate_errors(committing=True), at_most(longest), abandoned_commits.noting(connection):
            connection.commit()


@contextlib.contextmanager
def _unless_read_only(wait: bool) -> Iterator[None]:
    """Leave out writes with `wait=False` for a while after the database has refused a write because it is read-only.

    Each read by an API key would otherwise try to note the use of the key, and take up to twice as long.
    """
    if not wait and time.monotonic() < current_app.extensions["enrol.no_writes_until"]:
        raise read_only()
    try:
        yield
    except Unavailable as error:
        if error.reason == READ_ONLY:
            current_app.extensions["enrol.no_writes_until"] = time.monotonic() + READ_ONLY_SECONDS
        raise


def checkpoint() -> None:
    """Copy SQLite's write-ahead log to the file as far as no reader is in the way. On Postgres there is nothing to do.

    Raises Unavailable when the database cannot be used.
    """
    if db.engine.dialect.name == "sqlite":
        with _connection(**_without_transaction()) as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")


def compact() -> bool:
    """Remove the traces of deleted rows from a SQLite file, and tell whether it succeeded.

    While it runs, no process can write. On Postgres there is nothing to do: the server runs VACUUM itself. Raises
    Unavailable when the database cannot be read.
    """
    if db.engine.dialect.name != "sqlite":
        return True
    with _connection(**_without_transaction()) as connection:
        driver: Any = connection.connection.driver_connection
        return sqlite.compact(driver)


def session_on(connection: Connection) -> Session:
    """Return a session in the connection's transaction, which it neither commits nor closes."""
    return Session(connection, join_transaction_mode="rollback_only")


@contextlib.contextmanager
def _connection(**options: Any) -> Iterator[Connection]:
    """Yield a connection to a database whose schema is usable; the caller commits."""
    with _budget(), translate_errors():
        schema_version.require_usable(db.engine)
        connection = db.engine.connect().execution_options(**options)
        try:
            connection.begin()
            yield connection
        finally:
            with contextlib.suppress(DBAPIError):  # a lost connection must not hide the first error
                connection.close()


@contextlib.contextmanager
def _writer(wait: bool) -> Iterator[None]:
    """Let one writer of this process at a time ask for SQLite's write lock; on Postgres, three quarters of the pool.

    The others wait here without a connection, so reads find one: with 32 writers waiting, a read took 4 ms. Without
    this the writers held the whole pool, and the read failed after 2 s.
    """
    on_sqlite = db.engine.dialect.name == "sqlite"
    longest = BUDGET_SECONDS if on_sqlite else POOL_WAIT_SECONDS
    until = min(give_up_at(wait=wait), time.monotonic() + longest)
    writers: threading.Semaphore = current_app.extensions["enrol.writers"]
    if not writers.acquire(timeout=max(0, until - time.monotonic())):
        raise unavailable((causes.LOCKED if on_sqlite else causes.BUSY).found())
    try:
        yield
    finally:
        writers.release()


def advisory_lock(session: Session, number: int) -> None:
    """Make other transactions that ask for the same `number` wait until this one ends.

    On SQLite there is nothing to do: `transaction` already holds the only write lock.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})


def check(*, for_reads: bool = False) -> None:
    """Raise Unavailable with the reason unless the database can be used now, `for_reads` only or for writes too."""
    with _budget(), translate_errors():
        schema_version.require_usable_now(db.engine)
        if not for_reads:
            require_writable()


def require_writable() -> None:
    """Raise Unavailable if the database takes no writes now. Writes nothing and waits for no other writer."""
    with _connection() as connection:
        if connection.dialect.name == "sqlite":
            sqlite.require_writable(connection)
        else:
            postgres.require_writable(connection, db.metadata.tables)


@contextlib.contextmanager
def step() -> Iterator[None]:
    """Give the waits inside a budget of their own: for one of many steps of a request that takes long."""
    with current_app.app_context():  # its `g` is new
        yield


@contextlib.contextmanager
def _budget() -> Iterator[None]:
    """Limit the waits for the database to the rest of the request's budget, outside a request to all of it."""
    if deadline.get() is not None:  # an outer call has set it
        yield
        return
    start = time.monotonic()
    left: float = g.get("database_seconds", BUDGET_SECONDS) if has_request_context() else BUDGET_SECONDS
    if left <= 0:
        raise unavailable(causes.SLOW.found())
    token = deadline.set(start + left)
    try:
        yield
    finally:
        deadline.reset(token)
        if has_request_context():
            g.database_seconds = left - (time.monotonic() - start)
