"""Imports without their files' words: taken in through the service, and changed in the database."""

import io
from typing import Any

from flask import Flask

from support.databases import execute
from users.actors import Actor
from users.bulk.imports import jobs
from users.bulk.options import Options
from users.storage.models import Import

CSV = b"email\nann@example.com\nbob@example.com\n"


def submit(app: Flask, actor: Actor, content: bytes = CSV, **more: Any) -> jobs.Submitted:
    """Take in a file as `actor`."""
    given = {"name": "staff.csv", "options": Options(), "start": "never", "idempotency_key": None, **more}
    with app.app_context():
        return jobs.submit(io.BytesIO(content), actor=actor, **given)


def upload(app: Flask, actor: Actor, content: bytes = CSV, **more: Any) -> Import:
    """Take in a file as `actor` and return its import."""
    return submit(app, actor, content, **more).job


def set_state(app: Flask, job: Import, state: str) -> None:
    """Bring an import to a state that a worker brings it to."""
    execute(app, "UPDATE imports SET state = :state WHERE id = :id", state=state, id=job.id)
