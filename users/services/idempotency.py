"""A create that may be sent again: its answer is kept for a day under the caller's Idempotency-Key.

As in Stripe's API and draft-ietf-httpapi-idempotency-key-header: the key names one request of one API key. Each
repetition of the request gets the first 2xx answer. Errors are not kept: nothing was done.
"""

import hmac
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from users import clock, settings
from users.actors import Actor
from users.audit.trail import Action
from users.auth import throttles
from users.auth.authorization import authorized_transaction
from users.auth.throttles import AttemptCounters, Counter, Limit
from users.errors import IdempotencyKeyReused, TooManyBodies
from users.roles import Permission
from users.rules.validation import NewUser
from users.services import user_creation
from users.services.links import password_links
from users.services.links.password_links import PasswordLink
from users.storage import database, driver_errors
from users.storage.models import IdempotencyRecord, User, entity_tag

KEPT = timedelta(hours=24)
OTHER_BODIES = Limit(10, timedelta(minutes=5))
_ENDS_AT = "password_link_ends_at"  # a member that only a kept invitation has, beside the nine of the user
_PRIMARY_KEY = (
    "idempotency_records_pkey",
    "idempotency_records.api_key_id",
    "idempotency_records.idempotency_key",
)


@dataclass(frozen=True)
class IdempotentRequest:
    """A create under an Idempotency-Key, sent for the first time or again."""

    api_key_id: str
    idempotency_key: str
    fingerprints: tuple[bytes, ...] = field(repr=False)  # of the body: by today's secret key, then by older ones


@dataclass(frozen=True)
class CreatedUser:
    """The user and its entity tag at the creation, the open password link, and whether the request was sent before."""

    user: dict[str, Any]
    etag: str
    link: PasswordLink | None = None
    replayed: bool = False


def answer(user: User, link: PasswordLink | None = None) -> CreatedUser:
    """Return the answer to the request that has created `user`."""
    return CreatedUser(user.as_user(), user.etag, link)


def request_of(
    api_key_id: str, idempotency_key: str, body: Mapping[str, object], *, act: str = ""
) -> IdempotentRequest:
    """Return the request of this API key that sends `body`, a parsed JSON object, under the Idempotency-Key.

    Two bodies are the same request if they parse to the same object: the order of members, white space and escapes
    do not count, everything else does. Requests of different acts are never the same; a create is the act "".
    """
    canonical = f"{act} ".lstrip().encode() + json.dumps(body, sort_keys=True).encode("ascii")
    fingerprints = tuple(_fingerprint(secret, canonical) for secret in settings.current().secret_keys)
    return IdempotentRequest(api_key_id, idempotency_key, fingerprints)


def _fingerprint(secret: str, canonical: bytes) -> bytes:
    """Return HMAC-SHA-256 with a key derived from `secret`: a reader of the table cannot guess passwords by it."""
    derived = hmac.digest(secret.encode(), b"fingerprint of a request", "sha256")
    return hmac.digest(derived, canonical, "sha256")


def find_answer(request: IdempotentRequest, *, actor: Actor) -> CreatedUser | None:
    """Return the answer to this create or invitation that was kept in the last day, or None if there is none.

    Raises the errors of `find_kept`.
    """
    record = find_kept(request, Permission.USERS_CREATE, actor=actor)
    if record is None:
        return None
    return CreatedUser(_user_in(record), entity_tag(record.created_at), _link_of(record, request), replayed=True)


def find_kept(request: IdempotentRequest, permission: Permission, *, actor: Actor) -> IdempotencyRecord | None:
    """Return the record of this request that was kept in the last day, or None if there is none.

    Raises IdempotencyKeyReused if another body was sent under the key, and TooManyBodies after ten other bodies in
    five minutes, whatever is sent then: each could have been a guess at the password in the first one. Raises the
    errors of `authorization.reauthorize`.
    """
    with database.reading() as session:
        record = session.scalar(_kept_for(request))
    if record is None:
        return None
    counted = f"idempotency {request.api_key_id} {request.idempotency_key}"
    attempt = AttemptCounters((Counter(throttles.counter_key(counted), OTHER_BODIES),), TooManyBodies)
    try:
        is_same = _has_same_body(request, attempt, actor, permission)
    except TooManyBodies:
        throttles.record_first_refusal(attempt, Action.USER_CREATE, record.answer.get("id"), actor)
        raise
    if not is_same:
        raise IdempotencyKeyReused
    return record


def _user_in(record: IdempotencyRecord) -> dict[str, Any]:
    return {name: value for name, value in record.answer.items() if name != _ENDS_AT}


def _link_of(record: IdempotencyRecord, request: IdempotentRequest) -> PasswordLink | None:
    """Return the link of the invitation, None if it has ended: the record holds its end and not the link.

    The secret key that made the fingerprint has signed the link too, and signs it again.
    """
    if _ENDS_AT not in record.answer:
        return None
    ends_at = datetime.fromisoformat(record.answer[_ENDS_AT])
    for secret, fingerprint in zip(settings.current().secret_keys, request.fingerprints, strict=True):
        if hmac.compare_digest(record.fingerprint, fingerprint):
            return password_links.sign_again(_user_in(record), ends_at, secret)
    return None


def _has_same_body(request: IdempotentRequest, attempt: AttemptCounters, actor: Actor, permission: Permission) -> bool:
    """Tell whether the body is that of the record. The lock lets 100 parallel requests compare ten bodies in all.

    The same body writes nothing.
    """
    with authorized_transaction(actor, permission) as (session, _):
        record = session.scalar(_kept_for(request).with_for_update())
        throttles.require_attempts_left(session, attempt)
        if record and any(hmac.compare_digest(record.fingerprint, one) for one in request.fingerprints):
            return True
        throttles.count_attempt(session, attempt)
        throttles.restart_periods(session, attempt)
    return False


def _kept_for(request: IdempotentRequest) -> Select[IdempotencyRecord]:
    return select(IdempotencyRecord).where(_is_of(request), ~is_expired(clock.now()))


def create_user(new: NewUser, request: IdempotentRequest, *, actor: Actor) -> CreatedUser:
    """Create a user and keep the answer, both or neither. Return the kept answer if the same request was faster.

    Raises IdempotencyKeyReused, TooManyBodies, and the errors of `user_creation.create_user`.
    """
    keep = partial(_keep, request)
    return _once(request, lambda: answer(user_creation.create_user(new, actor=actor, before_insert=keep)), actor)


def invite(new: NewUser, request: IdempotentRequest, *, lifetime: timedelta | None, actor: Actor) -> CreatedUser:
    """Do for `password_links.invite` what `create_user` does for a create."""

    def act() -> CreatedUser:
        link = password_links.invite(new, lifetime=lifetime, actor=actor, before_insert=partial(_keep, request))
        return answer(link.user, link)

    return _once(request, act, actor)


def _once(request: IdempotentRequest, act: Callable[[], CreatedUser], actor: Actor) -> CreatedUser:
    """Return the answer of `act`, which keeps it, or the kept answer if the same request was faster."""
    try:
        return act()
    except IntegrityError as error:
        if not is_kept_already(error):
            raise
        kept = find_answer(request, actor=actor)
        if kept is None:
            raise
        return kept


def is_kept_already(error: IntegrityError) -> bool:
    """Tell whether the error says that the same request was faster."""
    return driver_errors.is_violation(error, *_PRIMARY_KEY)


def _keep(request: IdempotentRequest, session: Session, user: User) -> None:
    keep(request, session, _to_keep(user), user.created_at)


def keep(
    request: IdempotentRequest, transaction: Session | Connection, answer: Mapping[str, Any], now: datetime
) -> None:
    """Keep the answer. Call it before other inserts: on Postgres it waits until a parallel request has ended.

    On SQLite the transaction has waited for the write lock at its start.
    """
    # `cleanup` deletes the other expired ones.
    transaction.execute(delete(IdempotencyRecord).where(_is_of(request), is_expired(now)))
    transaction.execute(
        insert(IdempotencyRecord).values(
            api_key_id=request.api_key_id,
            idempotency_key=request.idempotency_key,
            fingerprint=request.fingerprints[0],
            answer=answer,
            created_at=now,
        )
    )


def complete(request: IdempotentRequest, connection: Connection, answer: Mapping[str, Any]) -> None:
    """Change the answer that `keep` kept in the same transaction, before it was known whole."""
    connection.execute(update(IdempotencyRecord).where(_is_of(request)).values(answer=answer))


def _to_keep(user: User) -> dict[str, Any]:
    """Return the answer as the record holds it. Only an invitation creates a user with a link."""
    ends_at = user.password_link_ends_at
    return user.as_user() | ({_ENDS_AT: ends_at.isoformat()} if ends_at else {})


def _is_of(request: IdempotentRequest) -> ColumnElement[bool]:
    return (IdempotencyRecord.api_key_id == request.api_key_id) & (
        IdempotencyRecord.idempotency_key == request.idempotency_key
    )


def shows(answer: Mapping[str, Any], user_ids: Collection[str]) -> bool:
    """Tell whether a kept answer, of a create or of many at once, shows one of the users."""
    many = (one.get("user", {}).get("id") for one in answer.get("results", ()))
    return answer.get("id") in user_ids or any(user_id in user_ids for user_id in many)


def is_expired(now: datetime) -> ColumnElement[bool]:
    """Return the SQL condition for records whose day is over."""
    return IdempotencyRecord.created_at <= now - KEPT
