"""The work on an act on many users: step by step, each a transaction of bounded time with the fates of its users.

A step is done whole or not at all. So a process that is killed leaves whole users, and a report that says who they are:
the next process goes on after them.
"""

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, select, update
from sqlalchemy.orm import Session

from users import clock
from users.audit import trail
from users.bulk import leases, runner
from users.bulk.acts import doing
from users.bulk.acts.kinds import Act, Fate, Wanted
from users.bulk.imports import actors
from users.bulk.imports.batches import Size
from users.bulk.leases import Lease, LeaseLost
from users.errors import AuthenticationRequired, Denied, EnrolError, InternalServerError, Unavailable
from users.storage import database
from users.storage.models import BulkAct, BulkActUser

# Users in a step, which holds SQLite's one lock for all writers, and on Postgres the lock on administrators, for which
# single acts wait.
FIRST, FEWEST = 50, 25
PAUSE_SECONDS = 0.005  # between two steps, for other writers: they ask for SQLite's lock every millisecond
REPEATS = 8  # of a step while the database is away or busy
_SET_FATE = (
    update(BulkActUser.metadata.tables["bulk_act_users"])
    .where(BulkActUser.act_id == bindparam("of_act"), BulkActUser.position == bindparam("at"))
    .values(fate=bindparam("became"))
)


def is_due() -> ColumnElement[bool]:
    """Return the SQL condition of the acts that were started and have not ended."""
    return and_(BulkAct.ended_at.is_(None), BulkAct.started_at.is_not(None))


def work(lease: Lease, should_stop: Callable[[], bool] = lambda: False) -> None:
    """Do the act until all its users have a fate, `should_stop` says so, or the act is cancelled.

    The act fails if who asked for it may not do it any more. Raises Unavailable if the database stays away.
    """
    try:
        if lease.crashes >= leases.MOST_CRASHES:
            _fail(lease, InternalServerError())
            return
        size = Size(FIRST, fewest=FEWEST)
        alone = bool(lease.crashes)  # after a crash, the user whose turn it is by themselves
        while not should_stop() and _step_or_fail(lease, size, alone):
            alone = False
            time.sleep(PAUSE_SECONDS)
    except LeaseLost:  # another process goes on, or the act was cancelled
        return


def _step_or_fail(lease: Lease, size: Size, alone: bool) -> bool:
    """Do the next step, and tell whether another one follows."""
    try:
        return _step_in_time(lease, size, alone)
    except (Denied, AuthenticationRequired) as error:
        _fail(lease, error)
        return False


def _step_in_time(lease: Lease, size: Size, alone: bool) -> bool:
    for repeat in range(1, REPEATS):
        try:
            return _step(lease, size, alone)
        except Unavailable:
            time.sleep(0.05 * 2**repeat)
    return _step(lease, size, alone)


def _step(lease: Lease, size: Size, alone: bool) -> bool:
    with database.transaction() as session:
        begin = time.monotonic()
        # The lock waits for a step whose COMMIT was given up, and may still be committed.
        job = session.get_one(BulkAct, lease.job_id, with_for_update=True)
        wanted = Wanted.from_job(job.act, job.options)
        actor = actors.authorize(session, job)
        actor.require(*wanted.permissions)
        positions = _next(session, job, 1 if alone else size.rows)
        do = doing.do_to_first if wanted.act is Act.RESTORE else doing.do
        became = do(session, wanted, list(positions), actor=actor, start=job.started_at or job.created_at)
        fates = [{"of_act": job.id, "at": positions[user_id], "became": fate} for user_id, fate in became.items()]
        follows = _end_step(session, lease, job, fates)
    size.learn(len(fates), time.monotonic() - begin)
    return follows


def _next(session: Session, job: BulkAct, limit: int) -> dict[str, int]:
    """Return the positions of the next users, by id."""
    mine = (BulkActUser.act_id == job.id, BulkActUser.position >= job.users_done)
    users = select(BulkActUser.user_id, BulkActUser.position).where(*mine).order_by(BulkActUser.position).limit(limit)
    return {row.user_id: row.position for row in session.execute(users)}


def _end_step(session: Session, lease: Lease, job: BulkAct, fates: list[dict[str, Any]]) -> bool:
    """Write the fates and the progress, and tell whether another step follows."""
    session.flush()
    if fates:
        session.connection().execute(_SET_FATE, fates)
    done = job.users_done + len(fates)
    refused = sum(fate["became"] not in tuple(Fate) for fate in fates)
    values: dict[str, Any] = {"state": "running", "users_done": done, "refused": job.refused + refused}
    is_last = done >= job.users_total or not fates
    if is_last:
        values |= {"state": "finished", **_ended()}
    leases.renew(session.connection(), lease, **values)
    return not is_last


def _fail(lease: Lease, error: EnrolError) -> None:
    """End the act, with the error. What was done stays. A refusal leaves an audit row, as that of a request does."""
    with database.transaction() as session:
        job = session.get_one(BulkAct, lease.job_id)
        told = {"code": error.code, "message": error.message, "details": error.details}
        leases.renew(session.connection(), lease, state="failed", error=told, **_ended())
        if isinstance(error, Denied):
            action, outcome = trail.Action.REQUEST_REFUSE, trail.Outcome.REFUSED
            actor = actors.authorize(session, job)
            trail.record(session, action, None, actor, clock.now(), error.missing.split(), outcome=outcome)


def _ended() -> dict[str, Any]:
    return {"ended_at": clock.now(), "holder": None, "lease_until": None}


runner.KINDS["acts"] = runner.Kind(BulkAct, is_due, work)
