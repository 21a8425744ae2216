"""Acts on many users, asked for and worked on as the service does."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from flask import Flask
from sqlalchemy import insert

from support.databases import rows
from users import clock, ids
from users.actors import Actor, ActorKind
from users.bulk import leases
from users.bulk.acts import jobs, working
from users.bulk.acts.kinds import Act, Wanted
from users.roles import Role, permissions_of
from users.rules import search_keys
from users.storage.models import BulkAct, User, db

DEACTIVATE, DELETE, LINKS, REACTIVATE, RESTORE = (
    Wanted(act) for act in (Act.DEACTIVATE, Act.DELETE, Act.LINKS, Act.REACTIVATE, Act.RESTORE)
)


def at_pages(user: User) -> Actor:
    """Return the user as an administrator at the pages, whose session does not matter to the act."""
    return Actor(
        ActorKind.SESSION,
        permissions_of(user.global_role_id),
        user_id=user.id,
        ip_address="192.0.2.7",
        request_id="req_12345678",
    )


def ask(app: Flask, wanted: Wanted, users: Sequence[User], asker: User) -> BulkAct:
    """Ask for the act at the pages, and do not start it."""
    with app.app_context():
        job = jobs.create(wanted, [user.id for user in users], actor=terminal_as(asker))
        as_session(job.id)
    return job


def start(job: BulkAct) -> BulkAct:
    """Start an act that was asked for, without the session of who asked for it. Needs an application context."""
    with db.engine.begin() as connection:
        acts: Any = BulkAct.__table__
        started = {"state": jobs.WAITING, "started_at": clock.now(), "expires_at": None}
        connection.execute(acts.update().where(acts.c.id == job.id).values(started))
    return job


def begin(wanted: Wanted, users: Sequence[User | str], asker: User) -> BulkAct:
    """Ask for the act and start it, as two requests of the asker's session would. Needs an application context."""
    chosen = [one if isinstance(one, str) else one.id for one in users]
    job = jobs.create(wanted, chosen, actor=terminal_as(asker))
    jobs.start(job.id, terminal_as(asker))
    as_session(job.id)
    return jobs.find(job.id, at_pages(asker))


def terminal_as(user: User) -> Actor:
    """Return an actor with the user's id and permissions, but no session to look up."""
    return Actor(ActorKind.TERMINAL, permissions_of(user.global_role_id), user_id=user.id, ip_address="192.0.2.7")


def as_session(act_id: str) -> None:
    """Let the act have been asked for in a session."""
    with db.engine.begin() as connection:
        acts: Any = BulkAct.__table__
        connection.execute(acts.update().where(acts.c.id == act_id).values(actor_kind="session"))


def take_up(act_id: str, *, should_stop: Callable[[], bool] = lambda: False) -> None:
    """Take the lease of the act and work on it."""
    lease = leases.take(BulkAct, act_id)
    assert lease
    working.work(lease, should_stop=should_stop)


def run(wanted: Wanted, users: Sequence[User | str], asker: User) -> BulkAct:
    """Do the act to its end, and return it."""
    job = begin(wanted, users, asker)
    take_up(job.id)
    return jobs.find(job.id, at_pages(asker))


def fates(app: Flask, act_id: str) -> dict[str, str | None]:
    """Return the fate of each user of the act, by id."""
    found = rows(app, "SELECT user_id, fate FROM bulk_act_users WHERE act_id = :id ORDER BY position", id=act_id)
    return {row.user_id: row.fate for row in found}


def events_of(app: Flask, act_id: str) -> list[tuple[str, str | None]]:
    """Return the action and the target of each event of the act, in the order in which they were written."""
    found = rows(app, "SELECT action, target_id FROM audit_events WHERE request_id = :id ORDER BY id", id=act_id)
    return [tuple(row) for row in found]


def add_crowd(number: int, *, active: bool = True, role: Role | None = None) -> list[str]:
    """Write so many users straight into the table, and return their ids in order. Needs an application context."""
    at = clock.now() - timedelta(days=1)
    crowd = [_member(n, ids.new_id("usr"), active, role, at) for n in range(number)]
    with db.engine.begin() as connection:
        connection.execute(insert(User.metadata.tables["users"]), crowd)
    return sorted(one["id"] for one in crowd)


def _member(n: int, user_id: str, active: bool, role: Role | None, at: datetime) -> dict[str, Any]:
    email = f"crowd{n}@example.com"
    return {
        "id": user_id,
        "email": email,
        "email_key": email,
        "password_hash": "x",
        "is_active": active,
        "global_role_id": role,
        "created_at": at,
        "updated_at": at,
        "password_change_required": False,
        **search_keys.keys(user_id, email, None, None),
    }
