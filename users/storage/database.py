"""The database: read and written in bounded time, and honest when it cannot be used.

Everything that the service reads or writes goes through `reading()`, `find()`, `transaction()` or `writing()`.
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
from users.errors import Unavailable
from users.storage import drivers, schema_version
from users.storage.driver_errors import AWAY, translate_errors
from users.storage.models import db

POOL_SIZE = 16  # connections of one process; none is held while a password is hashed
POOL_WAIT_SECONDS = 2
BUDGET_SECONDS = 4.0  # of database time in one request: waiting for a connection, connecting and every statement


def init_app(app: Flask, url: str) -> None:
    """Connect `app` to the database at `url`. Nothing is opened yet."""
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {
        "hide_parameters": True,  # an error's text must not hold what a statement wrote
        "pool_size": POOL_SIZE,
        "max_overflow": 0,
        "pool_timeout": POOL_WAIT_SECONDS,
        "pool_use_lifo": True,  # the connection used last is the one that is surest to live
    }
    schema_version.init_app(app)
    app.extensions["enrol.writer"] = threading.Lock()
    db.init_app(app)
    forks.register(app, before=_close_idle_connections, in_child=_connect_anew)
    Migrate(app, db, directory=str(Path(__file__).with_name("migrations")))
    with app.app_context():
        drivers.set_up(db.engine, BUDGET_SECONDS)


def _close_idle_connections(app: Flask) -> None:
    """Keep connections out of a child, which may not even close one (https://sqlite.org/howtocorrupt.html, 2.6)."""
    with app.app_context():
        db.engine.dispose()


def _connect_anew(app: Flask) -> None:
    """Begin a child with no connection, and with no lock that a thread of its parent may have held."""
    app.extensions["enrol.writer"] = threading.Lock()
    with app.app_context():
        db.engine.dispose(close=False)


def sqlite_file() -> Path | None:
    """Return where the SQLite database lies, None on Postgres."""
    url = db.engine.url
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


@contextlib.contextmanager
def reading() -> Iterator[Session]:
    """Yield a session to read with; its connection is back in the pool at the end.

    Each statement sees what is there by then: Postgres would give a transaction around them no more, for two more
    trips to it. Without one a write would stay, and a result that is not read to its end would let the next reader on
    SQLite see the same once more. Raises Unavailable when the database cannot be used.
    """
    with _connection(**_without_transaction()) as connection, session_on(connection) as session:
        yield session


def find(statement: Select[*tuple[Any, ...]], **values: object) -> Row[Any] | None:
    """Return the first row of `statement`, or None.

    For what every request asks: without a session it takes half the time. Raises Unavailable when the database cannot
    be used.
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
def writing(*, wait: bool = True) -> Iterator[Connection]:
    """Yield the bare connection of a `transaction`: for the act that must be quick."""
    with _budget(), _exclusive_write(wait), _connection(sqlite_begin="IMMEDIATE", sqlite_wait=wait) as connection:
        if not wait and connection.dialect.name == "postgresql":
            connection.execute(text(f"SET LOCAL lock_timeout = '{drivers.SHORT_WAIT_SECONDS}s'"))
        yield connection
        with translate_errors(committing=True):
            connection.commit()


def compact() -> bool:
    """Remove from a SQLite file what deleted rows leave behind, and tell whether that could be done.

    Nothing is written meanwhile, by any process. On Postgres there is nothing to do here: its VACUUM is the server's
    own work. Raises Unavailable when the database cannot be read.
    """
    if db.engine.dialect.name != "sqlite":
        return True
    with _connection(**_without_transaction()) as connection:
        driver: Any = connection.connection.driver_connection
        return drivers.compact(driver)


def session_on(connection: Connection) -> Session:
    """Return a session that works in the connection's transaction and leaves its end to whoever began it."""
    return Session(connection, join_transaction_mode="rollback_only")


@contextlib.contextmanager
def _connection(**options: Any) -> Iterator[Connection]:
    """Yield a connection to a database at HEAD; whoever writes with it commits."""
    with _budget(), translate_errors():
        schema_version.require_head(db.engine)
        connection = db.engine.connect().execution_options(**options)
        try:
            connection.begin()
            yield connection
        finally:
            with contextlib.suppress(DBAPIError):  # a connection that is lost must not hide what was raised
                connection.close()


@contextlib.contextmanager
def _exclusive_write(wait: bool) -> Iterator[None]:
    """Let one of this process's writers at a time ask for SQLite's write lock.

    The others wait here, where they hold no connection that a read could use.
    """
    if db.engine.dialect.name != "sqlite":
        yield
        return
    lock: threading.Lock = current_app.extensions["enrol.writer"]
    if not lock.acquire(timeout=max(0, drivers.give_up_at(wait=wait) - time.monotonic())):
        raise Unavailable(AWAY)
    try:
        yield
    finally:
        lock.release()


def advisory_lock(session: Session, number: int) -> None:
    """Hold back every other transaction that asks for the same `number`, until this one ends.

    On SQLite there is nothing to do: `transaction` holds the one write lock already.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})


def check() -> None:
    """Ask the database now whether it can be read and is at HEAD, or raise Unavailable with the reason.

    What was seen before and still works is not stopped by it: a server may go on under a newer schema while it is
    being replaced.
    """
    with _budget(), translate_errors():
        schema_version.look_up(db.engine)


@contextlib.contextmanager
def _budget() -> Iterator[None]:
    """Bound the database's waits by what is left of the request's budget; outside a request by all of it."""
    if drivers.deadline.get() is not None:  # they are bound already
        yield
        return
    start = time.monotonic()
    left: float = g.get("database_seconds", BUDGET_SECONDS) if has_request_context() else BUDGET_SECONDS
    if left <= 0:
        raise Unavailable(AWAY)
    token = drivers.deadline.set(start + left)
    try:
        yield
    finally:
        drivers.deadline.reset(token)
        if has_request_context():
            g.database_seconds = left - (time.monotonic() - start)
