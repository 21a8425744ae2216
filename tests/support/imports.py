"""Imports without their files' words: taken in through the service, and changed in the database."""

import io
from typing import Any

from flask import Flask

from support.databases import execute
from users import clock, ids
from users.actors import Actor, ActorKind
from users.bulk import leases
from users.bulk.imports import checking, jobs, records, running, spool
from users.bulk.options import Options
from users.roles import Permission
from users.storage import database
from users.storage.models import Import, User

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


def make_import(app: Flask, user: User, **values: Any) -> Import:
    """Write the row of an import that the user asked for at the pages: without a file, and running unless told."""
    facts = {"actor_kind": ActorKind.SESSION, "actor_user_id": user.id, "permissions": sorted(Permission)}
    given = {"id": ids.new_id("imp"), "state": "running", "name": "staff.csv", "sha256": "0" * 64, "bytes": len(CSV)}
    given |= {"options": Options().as_json(), "makes": {}, "rows_total": 2, "created_at": clock.now(), **facts}
    with app.app_context(), database.transaction() as session:
        job = Import(**{"machine": spool.machine(), **given, **values})
        session.add(job)
        session.flush()
        session.refresh(job)
        session.expunge(job)
    return job


def work_on(app: Flask, import_id: str) -> None:
    """Do what is due of an import, as the runner does: check its file, or run it."""
    with app.app_context():
        lease = leases.take(Import, import_id)
        assert lease
        file = spool.path(import_id, spool.FILE)
        if records.load(lease).state == "checking":
            checking.check(lease, file=file)
        else:
            running.run(lease, file=file, rejects=spool.path(import_id, spool.REJECTS))
        leases.give_back(lease)


def add_import(app: Flask, import_id: str, state: str, **values: Any) -> None:
    """Add an import of nobody's that is in this state, without a file; every administrator may see it."""
    given: dict[str, Any] = {
        "sha256": "0" * 64,
        "bytes": 6,
        "options": Options().as_json(),
        "makes": {},
        "permissions": [],
    }
    given |= {"actor_kind": "session", "created_at": clock.now(), **values}
    with app.app_context(), database.transaction() as session:
        session.add(Import(id=import_id, state=state, **given))
