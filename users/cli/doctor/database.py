"""Checks of the database and of what must be in it."""

from sqlalchemy import Connection

from users.cli.doctor.findings import Finding, failed, ok, warning
from users.errors import Unavailable
from users.services import user_queries
from users.storage import abandoned_commits, causes, database, postgres, schema_version


def check_database() -> Finding:
    """Check that the database can be read and written and is at HEAD."""
    try:
        database.require_writable()
        with database.reading() as session:
            return _tell_about(session.connection())
    except Unavailable as error:
        return failed("database", error.hint)


def _tell_about(connection: Connection) -> Finding:
    version = ".".join(map(str, connection.dialect.server_version_info or ()))
    found = f"{connection.dialect.name} {version}, at {schema_version.HEAD}"
    if connection.dialect.name == "sqlite":
        return ok("database", found)
    if abandoned_commits.does_a_session_wait(connection):
        return failed("database", causes.COMMITS.found().sentence)
    if postgres.is_direct(connection):
        return ok("database", f"{found}, direct")
    found = f"{found}, through a pooler, nothing prepared"
    if missing := postgres.role_settings_to_change(connection):
        todo = "Enrol sets nothing on the sessions of a pooler. Run this in the database and reconnect the pooler"
        return warning("database", f"{found}. {todo}: {'; '.join(missing)}")
    return ok("database", found)


def check_administrator() -> Finding:
    """Check that an administrator can sign in."""
    try:
        count = user_queries.count_active_administrators()
    except Unavailable:
        return failed("administrators", "They are in the database: mend that first.")
    if not count:
        todo = "There is none. Run: flask setup-link"
        return failed("administrators", todo)
    return ok("administrators", f"{count} active")
