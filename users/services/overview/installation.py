"""What the installation runs on: the database, its version, and the version of the schema."""

from dataclasses import dataclass

from sqlalchemy import text

from users.storage import database

_KINDS = {"postgresql": ("PostgreSQL", "current_setting('server_version')"), "sqlite": ("SQLite", "sqlite_version()")}


@dataclass(frozen=True)
class Installation:
    """The database, such as `PostgreSQL 16.4`, and the version of the schema, such as `0011`."""

    database: str
    schema: str


def read() -> Installation:
    """Return what the database says of itself. Raises Unavailable."""
    with database.reading() as session:
        name, version = _KINDS[session.get_bind().dialect.name]
        found = session.execute(text(f"SELECT version_num, {version} AS version FROM alembic_version")).one()  # noqa: S608
    return Installation(f"{name} {found.version.split()[0]}", found.version_num)
