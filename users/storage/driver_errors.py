"""The errors of the two drivers: which of them mean that the database cannot be used, and which constraint refused."""

import contextlib
import logging
import re
import sqlite3
import time
from collections.abc import Iterator

from flask import current_app, has_request_context
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from users import logs, settings
from users.errors import READ_ONLY, Unavailable
from users.storage import causes, schema_version, sqlite

AWAY = causes.UNKNOWN.sentence
TAKES_NO_WRITES = (
    "The database is read-only at the moment. If it is a standby, set DATABASE_URL to the primary server. If "
    "default_transaction_read_only is on, turn it off. If it is a SQLite file, make the file, its folder and its disk "
    "writable."
)

NOT_UTF8 = (
    "The database is in the encoding {encoding} and must be in UTF8. Make another one, for example with: "
    "createdb --encoding=UTF8 --locale=C --template=template0 enrol, and name it in DATABASE_URL."
)

_SCHEMA_SQLSTATES = {"42P01", "42703"}  # undefined table, undefined column
_SCHEMA_WORDS = re.compile("no such (table|column): |table .* has no column named ")
_READ_ONLY_SQLSTATE = "25006"
# The others: insufficient privilege, no schema to use, a transaction that was idle or open for too long.
_REFUSED_SQLSTATES = {_READ_ONLY_SQLSTATE, "42501", "3F000", "25P03", "25P04"}
_LOG_SECONDS = 1  # between two lines of one cause


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
        found = causes.find(error.orig) if isinstance(error, DBAPIError) else causes.BUSY.found()
        raise unavailable(found, outcome_unknown=committing and lost) from None


def unavailable(cause: causes.Found, *, outcome_unknown: bool = False) -> Unavailable:
    """Return the error of a database that cannot be used for this cause, and log the cause."""
    _log(cause.code)
    return Unavailable(cause.sentence, outcome_unknown=outcome_unknown)


def _log(code: str) -> None:
    """Log the cause of a request's 503, at most once in _LOG_SECONDS in this process. A command prints its sentence."""
    if not has_request_context():
        return
    logged: dict[str, float] = current_app.extensions.setdefault("enrol.logged_causes", {})
    if time.monotonic() - logged.get(code, -_LOG_SECONDS) >= _LOG_SECONDS:
        logged[code] = time.monotonic()
        logs.event("database_unavailable", level=logging.WARNING, cause=code)


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
    """Return the error of a database that can be read and takes no writes, and log it."""
    _log("read_only")
    return Unavailable(TAKES_NO_WRITES, reason=READ_ONLY)


def not_in_utf8(encoding: str) -> Unavailable:
    """Return the error of a Postgres database in another encoding than UTF8, and log it."""
    _log("encoding")
    return Unavailable(NOT_UTF8.format(encoding=encoding), reason="encoding")


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
        or (isinstance(error, DBAPIError) and error.connection_invalidated)
        or getattr(cause, "sqlstate", None) in _REFUSED_SQLSTATES
        or causes.find(cause).code == causes.ISOLATION.code
        or type(cause) is sqlite3.DatabaseError  # the file is damaged, or is not a database
    )
