"""What Enrol is measured against: the least that does the same statements, one file of Flask and SQLAlchemy Core.

No rules, no request ids, no limits, no log. It works on a database that Enrol has made, and creates users that Enrol
can read: a key is looked up; a user and its audit row are written in one durable transaction. Served by the same
server with the same number of threads.
"""

import hashlib
import os
import secrets
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from argon2 import PasswordHasher
from flask import Flask, Response, abort, jsonify, request
from sqlalchemy import create_engine, event, insert, select

from users.storage.models import db

app = Flask(__name__)
cost = dict(part.split("=") for part in os.environ["ENROL_PASSWORD_HASH"].split(","))
hasher = PasswordHasher(time_cost=int(cost["t"]), memory_cost=int(cost["m"]), parallelism=int(cost["p"]))
url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://")
engine = create_engine(url, pool_size=16, max_overflow=0)
keys, users, audit_events = (db.metadata.tables[name] for name in ("api_keys", "users", "audit_events"))
SHOWN = (users.c.email, users.c.first_name, users.c.last_name, users.c.id, users.c.is_active, users.c.last_verified,
         users.c.global_role_id, users.c.created_at, users.c.updated_at)  # fmt: skip

if engine.dialect.name == "sqlite":

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:
        """Make a commit as durable as Enrol's."""
        connection.isolation_level = None
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "busy_timeout = 3000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        """Take the write lock at the start of a transaction that writes."""
        mode = "IMMEDIATE" if connection.get_execution_options().get("writes") else "DEFERRED"
        connection.exec_driver_sql(f"BEGIN {mode}")


def key_holder() -> Any:
    """Return the row of the request's API key and its owner's role."""
    if "X-API-Key" not in request.headers:
        abort(401)
    digest = hashlib.sha256(request.headers["X-API-Key"].encode()).digest()
    found = select(keys, users.c.global_role_id, users.c.is_active).outerjoin(users, keys.c.owner_id == users.c.id)
    with engine.connect() as connection:
        return connection.execute(found.where(keys.c.key_hash == digest)).one()


def shown(user: Any) -> dict[str, Any]:
    """Return the nine members of a user."""
    return {column.name: f"{value:%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else value
            for column in SHOWN for value in (user[column.name],)}  # fmt: skip


def new_id(prefix: str) -> str:
    """Return an id that sorts by its time, as Enrol's do."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return f"{prefix}_{uuid.UUID(int=number).hex}"


@app.post("/v1/user/")
def create_user() -> tuple[Response, int]:
    """Create a user."""
    key = key_holder()
    given = request.get_json()
    password_hash = hasher.hash(given["password"])
    now = datetime.now(UTC)
    user = {"id": new_id("usr"), "email": given["email"], "email_key": given["email"].casefold(),
            "first_name": given.get("first_name"), "last_name": given.get("last_name"),
            "password_hash": password_hash, "is_active": True, "created_at": now, "updated_at": now}  # fmt: skip
    trace = {"id": new_id("evt"), "at": now, "action": "user.create", "outcome": "ok", "actor_kind": "key",
             "actor_key_id": key.id, "target_id": user["id"], "fields": ["email", "password"],
             "address": request.remote_addr}  # fmt: skip
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        connection.execute(insert(users), user)
        connection.execute(insert(audit_events), trace)
    return jsonify(shown({"last_verified": None, "global_role_id": None, **user})), 201


@app.get("/v1/user/<user_id>")
def get_user(user_id: str) -> Response:
    """Return one user."""
    key_holder()
    with engine.connect() as connection:
        return jsonify(shown(connection.execute(select(*SHOWN).where(users.c.id == user_id)).mappings().one()))


@app.get("/v1/user/")
def list_users() -> Response:
    """Return a page of users, oldest first."""
    key_holder()
    page = select(*SHOWN).where(users.c.deleted_at.is_(None), users.c.id > request.args.get("after", ""))
    with engine.connect() as connection:
        rows = connection.execute(page.order_by(users.c.id).limit(request.args.get("limit", 100, int))).mappings().all()
    return jsonify([shown(row) for row in rows])


def serve() -> Flask:
    """Return the application, as a production server asks for it."""
    return app
