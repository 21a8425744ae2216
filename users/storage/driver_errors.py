"""The errors of the two drivers: which of them mean that the database cannot be used, and which constraint refused."""

import contextlib
import re
import sqlite3
from collections.abc import Iterator

from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from users import settings
from users.errors import READ_ONLY, Unavailable
from users.storage import schema_version, sqlite

AWAY = (
    "The database cannot be used. Check DATABASE_URL, that its server runs, that its user may create and change "
    "tables there and that its disk is not full."
)
TAKES_NO_WRITES = (
    "The database is read-only at the moment. If it is a standby, set DATABASE_URL to the primary server. If it is a "
    "SQLite file, make the file, its folder and its disk writable."
)

_SCHEMA_SQLSTATES = {"42P01", "42703"}  # undefined table, undefined column
_SCHEMA_WORDS = re.compile("no such (table|column): |table .* has no column named ")
_READ_ONLY_SQLSTATE = "25006"
_REFUSED_SQLSTATES = {_READ_ONLY_SQLSTATE, "42501"}  # the second: insufficient privilege


@contextlib.contextmanager
def translate_errors(*, committing: bool = False) -> Iterator[None]:
    """Turn the drivers' errors of a database that cannot be used into Unavailable.

    The driver's text is dropped: it may quote a whole row, the password hash included.
    """
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        if not (is_schema(error) or is_away(error)):
            raise
        if is_schema(error):
            schema_version.forget()
            raise Unavailable(schema_version.BEHIND, reason="schema") from None
        if is_read_only(error):
            raise read_only() from None
        lost = isinstance(error, DBAPIError) and error.connection_invalidated
        raise Unavailable(AWAY, outcome_unknown=committing and lost) from None


def is_violation(error: IntegrityError, constraint: str, *columns: str) -> bool:
    """Tell whether the unique `constraint` refused: Postgres names it, SQLite its columns, as `table.column`."""
    diagnostics = getattr(error.orig, "diag", None)
    if diagnostics is not None:
        return bool(diagnostics.constraint_name == constraint)
    return str(error.orig) == f"UNIQUE constraint failed: {', '.join(columns)}"


def is_schema(error: Exception) -> bool:
    """Tell whether a table or column is missing. SQLite has no code for it, only a text."""
    cause = getattr(error, "orig", None)
    on_sqlite = isinstance(cause, sqlite3.OperationalError) and _SCHEMA_WORDS.match(str(cause))
    return bool(on_sqlite) or getattr(cause, "sqlstate", None) in _SCHEMA_SQLSTATES


def read_only() -> Unavailable:
    """Return the error of a database that can be read and takes no writes."""
    return Unavailable(TAKES_NO_WRITES, reason=READ_ONLY)


def is_read_only(error: Exception) -> bool:
    """Tell whether the database takes no writes: a standby, a setting of Postgres, a SQLite file or its disk."""
    cause = getattr(error, "orig", None)
    if isinstance(cause, sqlite3.Error):
        return sqlite.says_read_only(cause, settings.current().database_url)
    return getattr(cause, "sqlstate", None) == _READ_ONLY_SQLSTATE


def is_away(error: Exception) -> bool:
    """Tell whether the database itself is at fault: not reached, refusing, full, locked or damaged."""
    cause = getattr(error, "orig", None)
    if getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:  # an error in the statement
        return False
    return (
        isinstance(error, OperationalError | InterfaceError | PoolTimeout)
        or getattr(cause, "sqlstate", None) in _REFUSED_SQLSTATES
        or type(cause) is sqlite3.DatabaseError  # the file is damaged, or is not a database
    )
