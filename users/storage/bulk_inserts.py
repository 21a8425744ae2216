"""Many rows of one table at once: one executemany on SQLite, one COPY on Postgres.

Both take the values as the drivers do, which costs a third of what SQLAlchemy's own types take.
"""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError


def insert(connection: Connection, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Insert the rows in their order, each a tuple of `columns`: texts, numbers, booleans, UTC times and None.

    Raises IntegrityError when a constraint refuses one; on Postgres the transaction is then of no more use, so call
    this in a savepoint.
    """
    if not rows:
        return
    names = ", ".join(columns)
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" for _ in columns)
        statement = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608  (no value)
        connection.exec_driver_sql(statement, [*map(tuple, rows)])
        return
    driver: Any = connection.connection.driver_connection
    copying = f"COPY {table} ({names}) FROM STDIN"
    with _as_sqlalchemy_raises(connection), driver.cursor() as cursor, cursor.copy(copying) as copy:
        for row in rows:
            copy.write_row(row)


@lru_cache(maxsize=256)  # the time of the act comes three times in each row
def _as_sqlite_stores(moment: datetime) -> str:
    """Return `moment` as the types of `columns` and of SQLAlchemy store it."""
    return moment.replace(tzinfo=None).isoformat(" ", "microseconds")


# The driver calls it for times alone: to look at each value of each row here would take a sixth of the insert.
sqlite3.register_adapter(datetime, _as_sqlite_stores)


@contextlib.contextmanager
def _as_sqlalchemy_raises(connection: Connection) -> Iterator[None]:
    """Turn an error of the driver into that of SQLAlchemy, which `storage/driver_errors` knows."""
    try:
        yield
    except psycopg.Error as error:
        driver: Any = connection.connection.driver_connection
        lost = connection.dialect.is_disconnect(error, driver, None)  # type: ignore[arg-type]
        if lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            None, None, error, psycopg.Error, hide_parameters=True, connection_invalidated=lost
        ) from None
