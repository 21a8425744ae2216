"""Old audit events, and the file that a prune writes them to."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from support.audit_events import add_event
from support.databases import rows
from users import clock, ids
from users.actors import terminal
from users.services import audit_prune
from users.storage.models import db

ACTOR = terminal("req_prune0000000")
DAYS = timedelta(days=1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file that a prune writes."""
    return tmp_path / "events.jsonl"


def prune(app: Flask, file: Path, *, days: int = 365) -> int:
    """Prune the events from more than so many days ago; return how many."""
    with app.app_context():
        return audit_prune.prune_events(clock.now() - days * DAYS, file, actor=ACTOR)


def old(app: Flask, number: int, *, days: int = 400) -> list[str]:
    """Add so many events from so many days ago, one a millisecond, and return their ids."""
    at = clock.now() - days * DAYS
    return [add_event(app, one, at + one * timedelta(milliseconds=1)) for one in range(number)]


def many(app: Flask, number: int, *, user_id: str | None = None) -> list[str]:
    """Do the same faster."""
    prefix = ids.first("evt", clock.now() - 400 * DAYS)[:-20]
    made = [f"{prefix}7{one:019x}" for one in range(number)]
    insert = (
        "INSERT INTO audit_events (id, at, action, outcome, actor_kind, actor_user_id, fields, address)"
        " VALUES (:id, '2020-01-01 00:00:00', 'user.create', 'ok', 'session', :user, '[]', '192.0.2.1')"
    )
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(text(insert), [{"id": one, "user": user_id} for one in made])
    return made


def there(app: Flask) -> list[str]:
    """Return the ids of all events but those about a prune, oldest first."""
    return [row.id for row in rows(app, "SELECT id FROM audit_events WHERE action <> 'audit.prune' ORDER BY id")]


def prunes(app: Flask) -> list[Any]:
    """Return the events about a prune, oldest first."""
    return list(rows(app, "SELECT * FROM audit_events WHERE action = 'audit.prune' ORDER BY id"))


def ids_in(file: Path) -> list[str]:
    """Return the ids in an export."""
    return [json.loads(line)["id"] for line in file.read_text().splitlines()]
