"""Both databases, read and changed without the service."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from flask import Flask
from sqlalchemy import bindparam, event, text

from users.services import api_keys
from users.storage.columns import UtcDateTime
from users.storage.models import db

DATABASES: tuple[str, ...] = ("sqlite", "postgres")
# Before and after a test changes the audit trail on Postgres, where it is append-only.
TRIGGERS_OFF_AND_ON = [f"ALTER TABLE audit_events {act} TRIGGER USER" for act in ("DISABLE", "ENABLE")]


def rows(app: Flask, statement: str, **values: Any) -> Sequence[Any]:
    """Return the rows of a SQL query, without the models."""
    with app.app_context(), db.engine.connect() as connection:
        return connection.execute(text(statement), values).all()


def everything_stored(app: Flask) -> str:
    """Return all rows of all tables as text."""
    return "\n".join(str(row) for table in db.metadata.tables for row in rows(app, f'SELECT * FROM "{table}"'))


def execute(app: Flask, statement: str, **values: Any) -> None:
    """Change the database without the service."""
    moments = [bindparam(name, type_=UtcDateTime) for name, value in values.items() if isinstance(value, datetime)]
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(text(statement).bindparams(*moments), values)


def rewrite_audit(app: Flask, statement: str, **values: Any) -> None:
    """Change the audit trail, with the triggers off that refuse it."""
    before, after = [TRIGGERS_OFF_AND_ON[0]], [TRIGGERS_OFF_AND_ON[1]]
    if app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite"):
        triggers = rows(app, "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
        before, after = [f"DROP TRIGGER {name}" for name, _ in triggers], [sql for _, sql in triggers]
    for one in before:
        execute(app, one)
    execute(app, statement, **values)
    for one in after:
        execute(app, one)


def plans_of(read: Callable[[], object], table: str = "users") -> list[str]:
    """Return the database's plan for each query about the table that `read` asks."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if f"FROM {table}" in statement:
            asked.append((statement, parameters))

    api_keys.has_key()  # the schema has been seen
    event.listen(db.engine, "before_cursor_execute", note)
    read()
    event.remove(db.engine, "before_cursor_execute", note)
    return [_plan(statement, parameters) for statement, parameters in asked]


def _plan(statement: str, parameters: Any) -> str:
    """Return the database's plan for a statement."""
    with db.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            return "\n".join(row.detail for row in steps)
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")  # small tables are walked through
        return "\n".join(connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars())


@contextlib.contextmanager
def statements(app: Flask) -> Iterator[list[str]]:
    """Record all statements that are executed meanwhile."""
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    yield asked
    event.remove(engine, "before_cursor_execute", note)


@contextlib.contextmanager
def read_only(app: Flask) -> Iterator[None]:
    """Let the database take no writes, as a standby or a protected file. The pool keeps connections from meanwhile."""
    on_sqlite = app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite")
    with every_session(app, "PRAGMA query_only = ON" if on_sqlite else "SET default_transaction_read_only = on"):
        yield


@contextlib.contextmanager
def every_session(app: Flask, statement: str) -> Iterator[None]:
    """Run `statement` in each new session. The pool keeps connections from meanwhile."""

    def begin(connection: Any, _record: object) -> None:
        connection.execute(statement)
        connection.commit()

    with app.app_context():
        engine = db.engine
    event.listen(engine, "connect", begin)
    engine.dispose()
    try:
        yield
    finally:
        event.remove(engine, "connect", begin)
