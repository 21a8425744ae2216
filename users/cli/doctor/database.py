"""Checks of the database and of what must be in it."""

from users.cli.doctor.findings import Finding, failed, ok
from users.errors import Unavailable
from users.services import user_queries
from users.storage import database, schema_version


def check_database() -> Finding:
    """Check that the database can be read and written and is at HEAD."""
    try:
        database.require_writable()
        with database.reading() as session:
            return ok("database", f"{session.get_bind().dialect.name}, at {schema_version.HEAD}")
    except Unavailable as error:
        return failed("database", error.hint)


def check_administrator() -> Finding:
    """Check that an administrator can sign in."""
    try:
        count = user_queries.count_active_administrators()
    except Unavailable:
        return failed("administrators", "They are in the database: mend that first.")
    if not count:
        todo = "There is none. Run: flask users create you@example.com --role role_admin"
        return failed("administrators", todo)
    return ok("administrators", f"{count} active")
