"""Audit events put straight into the table."""

from datetime import UTC, datetime

from flask import Flask

from support.databases import execute
from users import ids

DAY = datetime(2026, 1, 31, tzinfo=UTC)
ADA, OMAR, KEY = "usr_" + "a" * 32, "usr_" + "b" * 32, "akid_" + "c" * 32
INSERT = (
    "INSERT INTO audit_events (id, at, action, outcome, actor_kind, actor_user_id, actor_key_id, target_id, fields,"
    " request_id, client_request_id)"
    " VALUES (:id, :at, :action, 'ok', 'key', :actor, :key, :target, '[]', :request, :client)"
)


def add_event(app: Flask, number: int, at: datetime = DAY, **columns: str | None) -> str:
    """Add an event made at `at`, and return its id; `number` tells those of the same millisecond apart."""
    event_id = f"{ids.first('evt', at)[:-20]}7{number:019x}"
    request = {"request": "req_12345678", "client": None}
    values = {"action": "user.create", "actor": ADA, "key": None, "target": OMAR, **request}
    execute(app, INSERT, id=event_id, at=at, **{**values, **columns})
    return event_id
