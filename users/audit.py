"""The audit trail: one row for each act, written in the act's own transaction, so that none is without its trace."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, insert, select
from sqlalchemy.orm import Session

from users import clock, database, ids
from users.actors import Actor
from users.models import AuditEvent, db


class Action(StrEnum):
    """What an audit row can say was done, as `object.act`."""

    KEY_CREATE = "key.create"
    KEY_REVOKE = "key.revoke"
    SESSION_CREATE = "session.create"
    SESSION_END = "session.end"
    SESSION_END_OTHERS = "session.end_others"
    USER_CREATE = "user.create"
    USER_DEACTIVATE = "user.deactivate"
    USER_DELETE = "user.delete"
    USER_REACTIVATE = "user.reactivate"
    USER_SET_PASSWORD = "user.set_password"  # noqa: S105  (an act, not a password)
    USER_UPDATE = "user.update"
    USER_VERIFY = "user.verify"
    USER_VERIFY_PASSWORD = "user.verify_password"  # noqa: S105
    VERIFICATION_CREATE = "verification.create"


_INSERT = insert(db.metadata.tables["audit_events"])


def record(
    transaction: Session | Connection,
    action: Action,
    target_id: str | None,
    actor: Actor,
    at: datetime,
    fields: list[str],
    *,
    outcome: str = "ok",
) -> None:
    """Add the row that says what `actor` did; `fields` are the names of what was set, never the values."""
    event = {
        "id": ids.new_id("evt"),
        "at": at,
        "action": action,
        "outcome": outcome,
        "actor_kind": actor.kind,
        "actor_user_id": actor.user_id,
        "actor_key_id": actor.key_id,
        "target_id": target_id,
        "fields": fields,
        "address": actor.address,
        "request_id": actor.request_id,
    }
    transaction.execute(_INSERT, event)


def is_newest(target_id: str, action: Action) -> bool:
    """Tell whether `action` is the last thing that was done to the user or key, and was done just now."""
    return any(
        event.action == action and event.outcome == "ok" and clock.now() - event.at < clock.A_MOMENT
        for event in recent(target_id, limit=1)
    )


def recent(target_id: str, *, limit: int = 10) -> Sequence[AuditEvent]:
    """Return the newest events about the user or key, newest first."""
    events = select(AuditEvent).where(AuditEvent.target_id == target_id)
    with database.reading() as session:
        return session.scalars(events.order_by(AuditEvent.id.desc()).limit(limit)).all()
