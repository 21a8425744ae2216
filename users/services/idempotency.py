"""A create that may be sent again: its answer is kept for a day under the caller's Idempotency-Key.

As Stripe does it, and draft-ietf-httpapi-idempotency-key-header: the key names one request of one API key, whose first
answer 2xx is given again however often the request is repeated. Errors are not kept: nothing was done.
"""

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, insert, select
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
from users.storage import database, driver_errors
from users.storage.models import IdempotencyRecord, User, entity_tag

KEPT = timedelta(hours=24)
OTHER_BODIES = Limit(10, timedelta(minutes=5))
_PRIMARY_KEY = (
    "idempotency_records_pkey",
    "idempotency_records.api_key_id",
    "idempotency_records.idempotency_key",
)


@dataclass(frozen=True)
class Attempt:
    """One sending of a request under an Idempotency-Key."""

    api_key_id: str
    key: str
    fingerprints: tuple[bytes, ...] = field(repr=False)  # of the body: by today's secret key, then by older ones


@dataclass(frozen=True)
class Answer:
    """The user as the first attempt showed it, its entity tag then, and whether this is a later attempt."""

    user: dict[str, Any]
    etag: str
    replayed: bool = False


def answer(user: User) -> Answer:
    """Return the answer to the create that has made `user`."""
    return Answer(user.as_user(), user.etag)


def attempt(api_key_id: str, key: str, body: Mapping[str, object]) -> Attempt:
    """Return the attempt of this API key to send `body`, a parsed JSON object, under the Idempotency-Key `key`.

    Two bodies are the same request if they parse to the same object: the order of members, white space and escapes
    do not count, everything else does.
    """
    given = settings.current()
    canonical = json.dumps(body, sort_keys=True).encode("ascii")
    secrets = (given.secret_key, *given.secret_key_fallbacks)
    return Attempt(api_key_id, key, tuple(_fingerprint(secret, canonical) for secret in secrets))


def _fingerprint(secret: str, canonical: bytes) -> bytes:
    """Return HMAC-SHA-256 by a key made of `secret`: a plain digest would let a reader of the table try passwords."""
    derived = hmac.digest(secret.encode(), b"fingerprint of a request", "sha256")
    return hmac.digest(derived, canonical, "sha256")


def find_answer(attempt: Attempt, *, actor: Actor) -> Answer | None:
    """Return the answer that an earlier attempt got, None if there was none or its day is over.

    Raises IdempotencyKeyReused if the earlier attempt sent another body, and TooManyBodies after ten of those in five
    minutes, whatever is sent: each could have been a guess at the password in the first one. Raises what
    `authorization.reauthorize` raises.
    """
    with database.reading() as session:
        record = session.scalar(_kept_for(attempt))
    if record is None:
        return None
    tries = AttemptCounters(
        (Counter(throttles.key(f"idempotency {attempt.api_key_id} {attempt.key}"), OTHER_BODIES),), TooManyBodies
    )
    try:
        is_same = _compare(attempt, tries, actor)
    except TooManyBodies:
        throttles.note_refusal(tries, Action.USER_CREATE, record.answer["id"], actor)
        raise
    if not is_same:
        raise IdempotencyKeyReused
    return Answer(record.answer, entity_tag(record.created_at), replayed=True)


def _compare(attempt: Attempt, tries: AttemptCounters, actor: Actor) -> bool:
    """Tell whether the body is that of the record. One at a time, so that 100 parallel requests are compared ten times.

    The same body writes nothing.
    """
    with authorized_transaction(actor, Permission.USERS_CREATE) as (session, _):
        record = session.scalar(_kept_for(attempt).with_for_update())
        throttles.require_left(session, tries)
        if record and any(hmac.compare_digest(record.fingerprint, one) for one in attempt.fingerprints):
            return True
        throttles.spend(session, tries)
        throttles.note_wrong(session, tries)
    return False


def _kept_for(attempt: Attempt) -> Select[IdempotencyRecord]:
    return select(IdempotencyRecord).where(_named(attempt.api_key_id, attempt.key), ~_expired(clock.now()))


def create_user(new: NewUser, attempt: Attempt, *, actor: Actor) -> Answer:
    """Create a user and keep the answer, both or neither; or return that of an attempt which was faster.

    Raises IdempotencyKeyReused, TooManyBodies, and what `user_creation.create_user` raises.
    """
    try:
        user = user_creation.create_user(new, actor=actor, condition=partial(_keep, attempt))
    except IntegrityError as error:
        if not driver_errors.is_violation(error, *_PRIMARY_KEY):
            raise
        kept = find_answer(attempt, actor=actor)
        if kept is None:
            raise
        return kept
    return answer(user)


def _keep(attempt: Attempt, session: Session, user: User) -> None:
    """Add the record of `user`, before the user: on Postgres the insert waits for another attempt to end.

    On SQLite the transaction has waited for the write lock at its start.
    """
    _clear_expired(session, attempt, user.created_at)
    session.execute(
        insert(IdempotencyRecord).values(
            api_key_id=attempt.api_key_id,
            idempotency_key=attempt.key,
            fingerprint=attempt.fingerprints[0],
            answer=user.as_user(),
            created_at=user.created_at,
        )
    )


def _clear_expired(session: Session, attempt: Attempt, now: datetime) -> None:
    """Take away this key's own record if it is expired; `cleanup` does so with all others."""
    session.execute(delete(IdempotencyRecord).where(_named(attempt.api_key_id, attempt.key), _expired(now)))


def _named(api_key_id: str, key: str) -> ColumnElement[bool]:
    return (IdempotencyRecord.api_key_id == api_key_id) & (IdempotencyRecord.idempotency_key == key)


def _expired(now: datetime) -> ColumnElement[bool]:
    return IdempotencyRecord.created_at <= now - KEPT
