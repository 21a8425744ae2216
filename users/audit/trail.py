"""The audit trail: one row for each act, written in the transaction of the act, so no act is without a row.

A refusal to a known actor leaves a row too, in a transaction of its own.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from flask import Flask, current_app
from sqlalchemy import Connection, insert, select
from sqlalchemy.orm import Session

from users import clock, ids, logs, rate_limits
from users.actors import Actor, ActorKind
from users.errors import Denied, EnrolError, LastAdministrator, RateLimitExceeded, Unavailable
from users.storage import database
from users.storage.models import AuditEvent


class Action(StrEnum):
    """The actions of audit rows, as `object.act`."""

    AUDIT_PRUNE = "audit.prune"
    FACTOR_CREATE = "factor.create"
    FACTOR_DELETE = "factor.delete"
    FACTOR_RESET = "factor.reset"
    KEY_CREATE = "key.create"
    KEY_REVOKE = "key.revoke"
    KEY_ROLL = "key.roll"
    PASSWORD_LINK_CREATE = "password_link.create"  # noqa: S105
    PASSWORD_LINK_REVOKE = "password_link.revoke"  # noqa: S105
    RECOVERY_CODES_CREATE = "recovery_codes.create"
    REQUEST_REFUSE = "request.refuse"
    SECRET_KEY_ADOPT = "secret_key.adopt"  # noqa: S105
    SESSION_CONFIRM = "session.confirm"
    SESSION_CREATE = "session.create"
    SESSION_END = "session.end"
    SESSION_END_ALL = "session.end_all"
    SESSION_END_OTHER = "session.end_other"
    SESSION_END_OTHERS = "session.end_others"
    USER_CREATE = "user.create"
    USER_DEACTIVATE = "user.deactivate"
    USER_DELETE = "user.delete"
    USER_EXPORT = "user.export"
    USER_IMPORT = "user.import"
    USER_PURGE = "user.purge"
    USER_REACTIVATE = "user.reactivate"
    USER_RESTORE = "user.restore"
    USER_SET_PASSWORD = "user.set_password"  # noqa: S105  (an act, not a password)
    USER_UNLOCK = "user.unlock"
    USER_UPDATE = "user.update"
    USER_VERIFY = "user.verify"
    USER_VERIFY_PASSWORD = "user.verify_password"  # noqa: S105
    VERIFICATION_CREATE = "verification.create"


RECENT_EVENTS = 10
_INSERT = insert(AuditEvent.metadata.tables["audit_events"])  # one statement for all rows: a None stays in it


class Outcome(StrEnum):
    """The outcome of an act."""

    OK = "ok"
    REFUSED = "refused"
    THROTTLED = "throttled"  # refused unchecked, after too many wrong passwords or other bodies


def init_app(app: Flask) -> None:
    """Give `app` the limit on the rows of refusals, which this process counts in memory."""
    app.extensions["enrol.refusal_buckets"] = rate_limits.Buckets(rate_limits.REFUSALS)


def record(
    transaction: Session | Connection,
    action: Action,
    target_id: str | None,
    actor: Actor,
    at: datetime,
    fields: list[str],
    *,
    outcome: Outcome = Outcome.OK,
) -> None:
    """Add the row for an act of `actor`. `fields` are the names of the fields that were set, never the values."""
    transaction.execute(_INSERT, _event(action, target_id, fields, actor, at, outcome))


def record_each(
    transaction: Session | Connection,
    acts: Iterable[tuple[Action, str, list[str]]],
    actor: Actor,
    at: datetime,
) -> None:
    """Add a row for each of the acts of `actor`, as `record` does. An act is the action, the target and the fields."""
    if events := [_event(*act, actor, at, Outcome.OK) for act in acts]:
        transaction.execute(_INSERT, events)


def _event(
    action: Action, target_id: str | None, fields: list[str], actor: Actor, at: datetime, outcome: Outcome
) -> dict[str, Any]:
    return {
        "id": ids.new_id("evt"),
        "at": at,
        "action": action,
        "outcome": outcome,
        "actor_kind": actor.kind,
        "actor_user_id": actor.user_id,
        "actor_key_id": actor.key_id,
        "target_id": target_id,
        "fields": fields,
        "address": actor.ip_address,
        "request_id": actor.request_id,
        "client_request_id": actor.client_request_id,
    }


def record_refusal(error: EnrolError, actor: Actor, target_id: str | None = None) -> None:
    """Record the refusal if `error` is one, with the missing permissions or the error's code.

    A caller without a valid key or session leaves no row: strangers must not make the database write. (Wrong passwords
    leave rows too; `signin` writes those, and throttles bound them.) After `rate_limits.REFUSALS` of one actor, and if
    the database cannot write at once, the refusal is only logged: the answer neither fails nor waits.
    """
    if actor.kind in (ActorKind.SETUP, ActorKind.VISITOR) or not isinstance(error, Denied | LastAdministrator):
        return
    reasons = error.missing.split() if isinstance(error, Denied) else [error.code]
    refusals: rate_limits.Buckets = current_app.extensions["enrol.refusal_buckets"]
    try:
        refusals.take(actor.key_id or actor.user_id or actor.kind).require()
        with database.transaction(wait=False) as session:
            outcome = Outcome.REFUSED
            record(session, Action.REQUEST_REFUSE, target_id, actor, clock.now(), reasons, outcome=outcome)
    except (RateLimitExceeded, Unavailable):
        logs.event("refusal_not_recorded", code=error.code, key_id=actor.key_id, user_id=actor.user_id)


def recent(target_id: str) -> Sequence[AuditEvent]:
    """Return the newest RECENT_EVENTS about the user or key, newest first."""
    events = select(AuditEvent).where(AuditEvent.target_id == target_id)
    with database.reading() as session:
        return session.scalars(events.order_by(AuditEvent.id.desc()).limit(RECENT_EVENTS)).all()
