"""Checks of the database and of what must be in it."""

from collections.abc import Sequence
from itertools import islice

from sqlalchemy import Connection

from users.auth.key_states import KeyState
from users.cli.doctor.findings import Finding, failed, ok, warning
from users.errors import Unavailable
from users.roles import ALL_PERMISSIONS, Permission
from users.services import api_keys, user_queries
from users.storage import abandoned_commits, causes, database, postgres, schema_version
from users.storage.models import ApiKey

_CHANGES = {Permission.USERS_DELETE, Permission.USERS_UPDATE}
_NEW = {Permission.HASHES_READ, Permission.USERS_IMPORT}  # since version 1.0.0: no older key has them
_MOST_KEYS, _MOST_NAMES = 1000, 5  # that are looked at, and that are named


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


def check_keys() -> Finding:
    """Name the API keys that change users but not administrators: that needs all permissions, later ones too.

    Of these, it warns of the keys that lack nothing but permissions newer than version 1.0.0: they could do it there.
    """
    try:
        found = [key for key, state in islice(api_keys.list_keys_with_states(), _MOST_KEYS) if state == KeyState.ACTIVE]
    except Unavailable:
        return failed("API keys", "They are in the database: mend that first.")
    narrow = [key for key in found if _CHANGES & set(key.scopes) and not set(key.scopes) >= ALL_PERMISSIONS]
    outgrown = [key for key in narrow if set(key.scopes) >= ALL_PERMISSIONS - _NEW]
    words = f"{len(found)} active"
    if others := [key for key in narrow if key not in outgrown]:
        words += f". Not all permissions, so no change of administrators: {_names(others)}"
    if not outgrown:
        return ok("API keys", words)
    new = " and ".join(sorted(_NEW))
    todo = f"They lack {new}, which are new, and can no longer change administrators: {_names(outgrown)}"
    return warning("API keys", f"{words}. {todo}. Where that is needed, make new keys with all permissions.")


def _names(keys: Sequence[ApiKey]) -> str:
    more = f" and {len(keys) - _MOST_NAMES} more" if len(keys) > _MOST_NAMES else ""
    return f"{', '.join(key.name for key in keys[:_MOST_NAMES])}{more}"
