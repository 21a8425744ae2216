"""The version of the database's schema, and the 503 when it is not one that this process can work with.

That is the version of this code (HEAD), or a newer one that came while the process ran: migrations only add what older
code can live with, so that servers can be replaced one after another.
"""

import re
from dataclasses import dataclass

from flask import Flask, current_app
from sqlalchemy import Engine, text

from users.errors import Unavailable

HEAD = "0012"  # the newest migration in storage/migrations; the names of migrations sort by age

BEHIND = "The database is not set up for this version of Enrol. Run: flask db upgrade"
NEWER = "The database was made by a newer version of Enrol. Install that version, or restore a backup."
FOREIGN = "The database belongs to another program, whose tables it holds. Set DATABASE_URL to a database of its own."


@dataclass
class _Schema:
    """What this process has seen of the schema. Once it was usable, requests do not ask again."""

    is_usable: bool = False
    was_at_head: bool = False


def init_app(app: Flask) -> None:
    """Begin with a schema that was not looked at yet."""
    app.extensions["enrol.schema"] = _Schema()


def require_usable(engine: Engine) -> None:
    """Raise Unavailable unless the schema is usable or was when it was last looked at."""
    if not _schema().is_usable:
        require_usable_now(engine)


def require_usable_now(engine: Engine) -> None:
    """Ask the database for its version now. Raises Unavailable unless it is HEAD, or newer and was HEAD before."""
    schema = _schema()
    with engine.connect() as connection:
        found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    schema.was_at_head |= found == HEAD
    refusal = why_not_upgradable(found)
    schema.is_usable = found == HEAD or (refusal == NEWER and schema.was_at_head)
    if not schema.is_usable:
        raise Unavailable(refusal or BEHIND, reason="schema")


def forget() -> None:
    """Look at the version again, and accept none but HEAD: a table or column was missing."""
    _schema().is_usable = _schema().was_at_head = False


def why_not_upgradable(revision: str | None) -> str | None:
    """Return the sentence on a schema that no upgrade by this version brings to HEAD, None for any other schema."""
    if revision is None:
        return None
    if not re.fullmatch("[0-9]{4}", revision):
        return FOREIGN
    return NEWER if revision > HEAD else None


def _schema() -> _Schema:
    schema: _Schema = current_app.extensions["enrol.schema"]
    return schema
