"""Creates under an Idempotency-Key, and what came of them."""

from typing import Any

from flask import Flask

from support.api import Answer, Api
from support.databases import rows
from support.people import PASSWORD

KEY = "8e03978e-40d5-43e8-bc93-6894a57f9324"
BODY = {"email": "jo@example.com", "password": PASSWORD}


def send(api: Api, key: str = KEY, *, query: str = "", **more: Any) -> Answer:
    """Send a create under an Idempotency-Key."""
    return api.call("POST", f"/v1/user/{query}", **{"json": BODY, **more}, headers={"Idempotency-Key": key})


def seen(answer: Answer) -> tuple[int, bytes, str | None]:
    """Return what must be the same each time."""
    return answer.status_code, answer.data, answer.headers.get("Location")


def is_replayed(answer: Answer) -> bool:
    """Tell whether the answer says that it was given before."""
    told = answer.headers.get("Idempotent-Replayed")
    assert told in (None, "true")
    return told is not None


def counts(app: Flask) -> dict[str, int]:
    """Return how many users, records and acts there are."""
    audit = "audit_events WHERE action = 'user.create' AND outcome = 'ok'"
    tables = {"users": "users", "records": "idempotency_records", "acts": audit}
    return {name: rows(app, f"SELECT count(*) FROM {table}")[0][0] for name, table in tables.items()}


ONE = {"users": 1, "records": 1, "acts": 1}
NOTHING = {"users": 0, "records": 0, "acts": 0}


def code(answer: Answer) -> tuple[int, str]:
    """Return an error's status and code."""
    return answer.status_code, answer.json["error"]["code"]


REUSED = (422, "IDEMPOTENCY_KEY_REUSED")
