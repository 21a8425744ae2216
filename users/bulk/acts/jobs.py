"""Acts on many users as jobs: asked for with the users who were chosen, started, cancelled, found.

An act that was asked for waits for its start, so that the question names exactly the users that it will touch. The user
who asked for it sees it, and so do those who hold all that this user held then.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from users import clock, ids
from users.actors import Actor
from users.auth.authorization import authorized_transaction
from users.bulk import runner
from users.bulk.acts.kinds import Act, Wanted
from users.errors import NotFound
from users.storage import database
from users.storage.models import BulkAct, BulkActUser

MOST = 10_000  # users of one act
LISTED = 50  # acts on a page of them
WAITS = timedelta(hours=1)  # for the start
KEPT = timedelta(days=7)  # the report, after the end of the act
MOST_ASKED = 10  # by one user that wait for the start: an older one is forgotten
_READ_AT_ONCE, _MOST_READS = 200, 5  # where others' acts, which the actor may not see, stand between
ASKED, WAITING, CANCELLED = "asked", "waiting", "cancelled"


class ActNotFound(NotFound):
    """There is no such act, or the actor may not see it."""

    message = "There is no such act on many users."


def create(
    wanted: Wanted, user_ids: Sequence[str], *, way_back: str | None = None, is_partial: bool = False, actor: Actor
) -> BulkAct:
    """Keep the act on these users, at most MOST, and return it. It waits for its `start`.

    The users are in the order of their ids, in which all acts lock them: two acts at once cannot block each other.
    `way_back` leads to the list in which the users were chosen, which may find more of them if `is_partial`. Raises
    Denied and the errors of `authorization.reauthorize`.
    """
    chosen = sorted(set(user_ids))
    assert 0 < len(chosen) <= MOST  # noqa: S101  (the door has counted them)
    with authorized_transaction(actor, *wanted.permissions) as (session, actor):
        _forget_oldest(session, actor)
        options = {**wanted.as_json(), "list": way_back, "is_partial": is_partial}
        job = _new_job(wanted.act, options, len(chosen), actor)
        session.add(job)
        session.flush()
        rows = [{"act_id": job.id, "position": at, "user_id": user_id} for at, user_id in enumerate(chosen)]
        session.connection().execute(insert(BulkActUser.metadata.tables["bulk_act_users"]), rows)
    return job


def _new_job(act: Act, options: Mapping[str, Any], number: int, actor: Actor) -> BulkAct:
    now = clock.now()
    return BulkAct(
        id=ids.new_id("act"),
        state=ASKED,
        act=act,
        options=options,
        users_total=number,
        users_done=0,
        refused=0,
        crashes=0,
        actor_kind=actor.kind,
        actor_user_id=actor.user_id,
        actor_key_id=actor.key_id,
        permissions=sorted(actor.permissions),
        address=actor.ip_address,
        request_id=actor.request_id,
        created_at=now,
        expires_at=now + WAITS,
    )


def _forget_oldest(session: Session, actor: Actor) -> None:
    """Forget the acts beyond MOST_ASKED - 1 that the user asked for and did not start."""
    mine = (BulkAct.actor_user_id == actor.user_id, BulkAct.state == ASKED, BulkAct.ended_at.is_(None))
    newest = select(BulkAct.id).where(*mine).order_by(BulkAct.id.desc()).offset(MOST_ASKED - 1)
    forgotten = session.scalars(newest).all()
    if forgotten:
        session.execute(delete(BulkAct).where(BulkAct.id.in_(forgotten)))


def find(act_id: str, actor: Actor) -> BulkAct:
    """Return the act, or raise ActNotFound: also where the actor may not see it, or it waited too long."""
    with database.reading() as session:
        job = session.get(BulkAct, act_id) if ids.is_act_id(act_id) else None
    if job is None or not _may_see(job, actor) or (job.expires_at and job.expires_at <= clock.now()):
        raise ActNotFound
    return job


def newest(actor: Actor, *, before: str | None = None, limit: int = LISTED) -> Sequence[BulkAct]:
    """Return the acts that were started and that the actor may see, newest first: those before the act `before`."""
    started = select(BulkAct).where(BulkAct.started_at.is_not(None)).order_by(BulkAct.id.desc()).limit(_READ_AT_ONCE)
    found: list[BulkAct] = []
    for _ in range(_MOST_READS):
        with database.reading() as session:
            some = session.scalars(started.where(BulkAct.id < before) if before else started).all()
        found += [job for job in some if _may_see(job, actor)]
        if len(found) >= limit or len(some) < _READ_AT_ONCE:
            break
        before = some[-1].id
    return found[:limit]


def _may_see(job: BulkAct, actor: Actor) -> bool:
    is_own = actor.user_id is not None and job.actor_user_id == actor.user_id
    return is_own or set(job.permissions) <= actor.permissions


def is_own(job: BulkAct, actor: Actor) -> bool:
    """Tell whether it was the actor who asked for the act."""
    return (job.actor_kind, job.actor_user_id, job.actor_key_id) == (actor.kind, actor.user_id, actor.key_id)


def start(act_id: str, actor: Actor) -> BulkAct:
    """Let the work begin, and return the act. One that has begun stays as it is.

    Only who asked for the act starts it, after a fresh proof that it is them. Raises ActNotFound, Denied,
    ConfirmationNeeded and the errors of `authorization.reauthorize`.
    """
    job = find(act_id, actor)
    if not is_own(job, actor):
        raise ActNotFound
    wanted = Wanted.from_job(job.act, job.options)
    actor.require(*wanted.permissions)
    actor.require_confirmation()
    with authorized_transaction(actor, *wanted.permissions) as (session, actor):
        begun = {"state": WAITING, "started_at": clock.now(), "expires_at": None}
        waits = update(BulkAct).where(BulkAct.id == act_id, BulkAct.state == ASKED, BulkAct.ended_at.is_(None))
        session.execute(waits.values(begun))
    runner.wake()
    return find(act_id, actor)


def cancel(act_id: str, actor: Actor) -> BulkAct:
    """End the act, and return it. What was done to its users stays; one that has ended stays as it is.

    It needs what the act needs. Raises ActNotFound, Denied and the errors of `authorization.reauthorize`.
    """
    job = find(act_id, actor)
    with authorized_transaction(actor, *Wanted.from_job(job.act, job.options).permissions) as (session, actor):
        ended: dict[str, Any] = {"state": CANCELLED, "ended_at": clock.now(), "holder": None, "lease_until": None}
        # Without its lease, the process that works on the act cannot end its step.
        open_ = update(BulkAct).where(BulkAct.id == act_id, BulkAct.ended_at.is_(None))
        session.execute(open_.values({**ended, "expires_at": None}))
    return find(act_id, actor)
