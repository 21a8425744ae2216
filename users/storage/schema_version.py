"""The version of the database's schema, and the 503 when it is not the version that this code needs (HEAD)."""

from dataclasses import dataclass

from flask import Flask, current_app
from sqlalchemy import Engine, text

from users.errors import Unavailable

HEAD = "0008"  # the newest migration in storage/migrations; the names of migrations sort by age

BEHIND = "The database is not set up for this version of Enrol. Run: flask db upgrade"
NEWER = "The database was made by a newer version of Enrol. Install that version, or restore a backup."


@dataclass
class _Schema:
    """Whether the database was seen at HEAD. Once it was, requests do not ask again."""

    is_at_head: bool = False


def init_app(app: Flask) -> None:
    """Begin with a schema that was not looked at yet."""
    app.extensions["enrol.schema"] = _Schema()


def require_head(engine: Engine) -> None:
    """Raise Unavailable unless the database is at HEAD or was when it was last looked at."""
    if not _schema().is_at_head:
        require_head_now(engine)


def require_head_now(engine: Engine) -> None:
    """Ask the database for its version now. Raises Unavailable unless it is HEAD."""
    with engine.connect() as connection:
        found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if found != HEAD:
        raise Unavailable(NEWER if is_newer(found) else BEHIND, reason="schema")
    _schema().is_at_head = True


def forget() -> None:
    """Have the next request look at the version again: a table or column was missing."""
    _schema().is_at_head = False


def is_newer(revision: str | None) -> bool:
    """Tell whether a newer version of Enrol made the schema at `revision`."""
    return revision is not None and revision > HEAD


def _schema() -> _Schema:
    schema: _Schema = current_app.extensions["enrol.schema"]
    return schema
