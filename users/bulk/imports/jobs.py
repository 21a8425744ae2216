"""Imports of the API and the pages: taken in, found, started and cancelled. The `runner` does the work beside requests.

Only the uploader of an import, or an actor who holds all that the uploader held, knows of it. An import acts with what
its uploader and the user who started it both hold at that moment.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

from sqlalchemy import ColumnElement, Text, and_, cast, false, func, not_, or_, select
from sqlalchemy.orm import Session, object_session

from users import clock, ids, settings
from users.actors import Actor, ActorKind
from users.auth import authorization
from users.auth.authorization import authorized_transaction
from users.bulk import runner
from users.bulk.imports import made, spool
from users.bulk.imports.errors import (
    MOST_UNFINISHED,
    ImportElsewhere,
    ImportNotFound,
    ImportState,
    TooManyImports,
)
from users.bulk.options import Options
from users.errors import IdempotencyKeyReused, Unavailable
from users.roles import Permission
from users.services import idempotency
from users.storage import database
from users.storage.models import Import

ToldLater = Callable[[BinaryIO], Options]  # takes the file that has arrived, and may refuse it
Starts = Literal["never", "clean", "always"]  # by itself: never, if no row is rejected, always

MOVING = ("checking", "waiting", "running")  # the others have ended, or wait for the user who asked for them
LONGEST_NAME = 255
_LOCK = 0x75706C6F6164  # "upload", the number of the lock
_AT_ONCE = 100  # imports in one read


@dataclass(frozen=True)
class Submitted:
    """An import that was asked for, and whether the same request had been sent before."""

    job: Import
    replayed: bool


def submit(
    stream: spool.Stream,
    *,
    name: str | None,
    options: Options | ToldLater,
    start: Starts,
    idempotency_key: str | None,
    actor: Actor,
) -> Submitted:
    """Take in a file once: for a day, the same file and options with the same `idempotency_key` are one import.

    Raises Denied, TooManyImports, FileTooLarge while the file arrives, SpoolUnavailable, Unavailable,
    IdempotencyKeyReused for another file, the errors of `authorization.reauthorize`, and what the stream and `options`
    raise. After an error there is neither a file nor an import.
    """
    actor.require(Permission.USERS_IMPORT)
    if idempotency_key is None:
        with database.reading() as session:
            _require_room(session)  # before a byte is read
    import_id = ids.new_id("imp")
    with spool.receiving(import_id, stream, most=settings.current().import_max_bytes) as upload:
        if not isinstance(options, Options):
            with spool.path(import_id, spool.FILE).open("rb") as file:
                options = options(file)
        job = Import(
            id=import_id,
            state="checking",
            name=_shown(name),
            sha256=upload.sha256,
            bytes=upload.bytes,
            options=options.as_json(),
            makes={},
            starts=start,
            idempotency_key=idempotency_key,
            machine=spool.machine(),
            permissions=sorted(actor.permissions),
            **_facts_of(actor),
            address=actor.ip_address,
            request_id=actor.request_id,
            created_at=clock.now(),
        )
        try:
            submitted = _insert(job, actor)
        except Unavailable as error:
            upload.kept = "outcome" in error.details  # `cleaning` removes it if there is no import
            raise
        upload.kept = not submitted.replayed
    runner.wake()
    return submitted


def _insert(job: Import, actor: Actor) -> Submitted:
    with database.transaction() as session:
        actor = authorization.reauthorize(session, actor, Permission.USERS_IMPORT)
        database.advisory_lock(session, _LOCK)
        if kept := _sent_before(session, job):
            return Submitted(kept, replayed=True)
        _require_room(session)
        job.permissions = sorted(actor.permissions)
        session.add(job)
        session.flush()
        session.refresh(job)  # the defaults of the database
        session.expunge(job)
    return Submitted(job, replayed=False)


def _facts_of(actor: Actor) -> dict[str, Any]:
    return {"actor_kind": actor.kind, "actor_user_id": actor.user_id, "actor_key_id": actor.key_id}


def _sent_before(session: Session, job: Import) -> Import | None:
    """Return the import of the last day with the same Idempotency-Key; an older one loses the key.

    Raises IdempotencyKeyReused if the import has another file or other options.
    """
    if job.idempotency_key is None or job.actor_key_id is None:
        return None
    same = (Import.actor_key_id == job.actor_key_id, Import.idempotency_key == job.idempotency_key)
    kept = session.scalar(select(Import).where(*same))
    if kept is None:
        return None
    if kept.created_at <= clock.now() - idempotency.KEPT:
        kept.idempotency_key = None
        session.flush()  # before the insert: an index keeps the keys unique
        return None
    if (kept.sha256, kept.options, kept.starts) != (job.sha256, job.options, job.starts):
        raise IdempotencyKeyReused
    session.expunge(kept)
    return kept


def _require_room(session: Session) -> None:
    """Raise TooManyImports if so many imports have not ended. Those of the command line do not count."""
    unfinished = select(func.count()).where(Import.ended_at.is_(None), Import.actor_kind != ActorKind.TERMINAL)
    if (session.scalar(unfinished) or 0) >= MOST_UNFINISHED:
        raise TooManyImports


def _shown(name: str | None) -> str | None:
    """Return the name of a file as people are shown it, without invisible characters."""
    return "".join(one for one in name or "" if one.isprintable()).strip()[:LONGEST_NAME] or None


def find(import_id: str, actor: Actor) -> Import:
    """Return the import. Raises ImportNotFound if there is none that the actor may see."""
    with database.reading() as session:
        job = session.get(Import, import_id) if ids.is_import_id(import_id) else None
    if job is None or not _may_see(job, actor):
        raise ImportNotFound
    return job


def _may_see(job: Import, actor: Actor) -> bool:
    is_own = all(getattr(job, name) == value for name, value in _of_own(actor).items())
    return is_own or set(job.permissions) <= actor.permissions


def _of_own(actor: Actor) -> dict[str, Any]:
    """Return what the actor's own imports have in their columns."""
    return {"actor_key_id": actor.key_id} if actor.kind == ActorKind.KEY else _facts_of(actor)


def _may_be_seen(actor: Actor) -> ColumnElement[bool]:
    """Return the SQL condition that leaves out most imports for which `_may_see` is false.

    Without it, an actor who sees none of 40,000 imports waited 8 s for that answer.
    """
    own = [getattr(Import, name) == value for name, value in _of_own(actor).items()]
    held = cast(Import.permissions, Text)  # a JSON list of texts
    more = [held.contains(f'"{one}"', autoescape=True) for one in Permission if one not in actor.permissions]
    return or_(and_(*own), not_(or_(false(), *more)))


def newest(actor: Actor, *, before: str | None, limit: int) -> Sequence[Import]:
    """Return up to `limit` imports that the actor may see, newest first, all older than the import `before`."""
    found: list[Import] = []
    while True:
        asked = select(Import).where(_may_be_seen(actor)).order_by(Import.id.desc()).limit(_AT_ONCE)
        with database.reading() as session:
            some = session.scalars(asked.where(Import.id < before) if before else asked).all()
        found += [job for job in some if _may_see(job, actor)]
        if len(found) >= limit or len(some) < _AT_ONCE:
            return found[:limit]
        before = some[-1].id


def start(import_id: str, actor: Actor, *, skip_existing: bool | None = None) -> Import:
    """Let an import that is checked begin, and return it. `skip_existing` is as in the options, None as it was.

    Raises ImportNotFound, ImportElsewhere, ImportState in another state, and the errors of `reauthorize`.
    """
    with _changing(import_id, actor, ("checked",)) as (job, actor):
        _require_here(job)
        if skip_existing is not None:
            job.options = replace(Options.from_json(job.options), skip_existing=skip_existing).as_json()
        if _facts_of(actor) != {name: getattr(job, name) for name in _facts_of(actor)}:
            job.started_by = {
                "kind": actor.kind,
                "user_id": actor.user_id,
                "key_id": actor.key_id,
                "permissions": sorted(actor.permissions),
            }
        job.state, job.expires_at, job.crashes = "waiting", None, 0
    runner.wake()
    return job


def set_columns(import_id: str, actor: Actor, *, mapped: Mapping[str, str], ignored: Sequence[str]) -> Import:
    """Say what the headers of a file mean and let the file be checked again. Raises the errors of `start`."""
    with _changing(import_id, actor, ("columns",)) as (job, actor):
        _require_here(job)
        told = replace(Options.from_json(job.options), mapped=dict(mapped), ignored=tuple(ignored))
        job.options, job.state, job.error, job.expires_at, job.crashes = told.as_json(), "checking", None, None, 0
    runner.wake()
    return job


def cancel(import_id: str, actor: Actor) -> Import:
    """End an import and remove its file; the users that it has made stay. A step that runs is rolled back.

    Raises ImportNotFound, ImportState if it has ended, and the errors of `reauthorize`.
    """
    with _changing(import_id, actor, None) as (job, actor):
        session = object_session(job)
        assert session  # noqa: S101  (it is locked in one)
        made.record(session, job)
        job.state, job.ended_at, job.expires_at = "cancelled", clock.now(), None
        job.holder, job.lease_until = None, None
    spool.remove_after_end(import_id)
    return job


@contextlib.contextmanager
def _changing(import_id: str, actor: Actor, states: Sequence[str] | None) -> Iterator[tuple[Import, Actor]]:
    """Yield the locked import, which is in one of `states` (None: any but the last ones), and the actor of now."""
    with authorized_transaction(actor, Permission.USERS_IMPORT) as (session, now):
        found = select(Import).where(Import.id == import_id).with_for_update()
        job = session.scalar(found) if ids.is_import_id(import_id) else None
        if job is None or not _may_see(job, now):
            raise ImportNotFound
        if job.ended_at is not None or (states is not None and job.state not in states):
            raise ImportState(job.state)
        yield job, now
        session.flush()
        session.expunge(job)


def _require_here(job: Import) -> None:
    """Raise ImportElsewhere unless this host has the files of the import."""
    if job.machine != spool.machine():
        raise ImportElsewhere


def rejects_file(job: Import, actor: Actor) -> Path:
    """Return the path of the file of the rows that were refused, without passwords and hashes.

    Raises ImportNotFound if there is none or it has been removed, ImportElsewhere if another host has it.
    """
    if job.actor_kind == ActorKind.TERMINAL or not _may_see(job, actor):  # a command writes it where it is told
        raise ImportNotFound
    _require_here(job)
    found = spool.path(job.id, spool.REJECTS)
    if not found.is_file():
        raise ImportNotFound
    return found


def as_job(job: Import) -> dict[str, Any]:
    """Return an import as the API shows it."""
    times = ("created_at", "checked_at", "started_at", "ended_at", "expires_at")
    return {
        "id": job.id,
        "state": job.state,
        "name": job.name,
        "bytes": job.bytes,
        "sha256": job.sha256,
        "rows": {
            "total": job.rows_total,
            "done": job.rows_done,
            "created": job.created,
            "existing": job.existing,
            "rejected": job.rejected,
        },
        "makes": job.makes,
        "error": job.error,
        "created_by": job.actor_user_id or job.actor_key_id,
        **{name: clock.rfc3339(at) if (at := getattr(job, name)) else None for name in times},
    }
