"""The lease of a job: one process at a time works on it, and another takes it up when that one has died.

Any process that can reach the database may take a job whose lease is free: no process holds it, it has ended, or its
holder was a process of this machine that lives no more. The holder renews it in the transaction of each step, so a
process that has lost its lease cannot commit a step.
"""

import os
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, or_, select, update

from users import clock
from users.storage import database
from users.storage.models import BulkAct, Import

LASTS = timedelta(seconds=30)
MOST_CRASHES = 3  # at one step: then the job has failed


class LeaseLost(Exception):
    """Another process works on the job, or the job was cancelled."""


@dataclass(frozen=True)
class Lease:
    """The right to work on one job."""

    model: type[Import] | type[BulkAct]
    job_id: str
    holder: str
    crashes: int  # of earlier holders, at the step that comes next


def this_process() -> str:
    """Return the name of this process among all that may work on a job."""
    return f"{socket.gethostname()} {os.getpid()} {os.urandom(6).hex()}"


def take(model: type[Import] | type[BulkAct], job_id: str) -> Lease | None:
    """Take the lease of a job if it is free, and return it; None if another process works on the job.

    A lease that its last holder has not given back counts as a crash. Raises Unavailable.
    """
    table: Any = model.__table__
    holder = this_process()
    with database.writing() as connection:
        row = select(table.c.holder, table.c.lease_until, table.c.crashes).where(table.c.id == job_id)
        found = connection.execute(row.with_for_update()).first()
        if found is None or not is_free(found.holder, found.lease_until):
            return None
        crashes = found.crashes + (found.holder is not None)
        taken = {"holder": holder, "lease_until": clock.now() + LASTS, "crashes": crashes}
        connection.execute(update(table).where(table.c.id == job_id).values(taken))
    return Lease(model, job_id, holder, crashes)


def renew(connection: Connection, lease: Lease, *, step_ended: bool = True, **values: object) -> None:
    """Renew the lease in the transaction of a step, and write `values` to the job's row with it.

    `step_ended` forgets earlier crashes. Raises LeaseLost if this process does not hold the lease any more.
    """
    table: Any = lease.model.__table__
    renewed = {"lease_until": clock.now() + LASTS, **({"crashes": 0} if step_ended else {}), **values}
    mine = (table.c.id == lease.job_id, table.c.holder == lease.holder)
    if connection.execute(update(table).where(*mine).values(renewed)).rowcount != 1:
        raise LeaseLost


def give_back(lease: Lease) -> None:
    """Let others take the job at once. Raises Unavailable."""
    table: Any = lease.model.__table__
    mine = (table.c.id == lease.job_id, table.c.holder == lease.holder)
    with database.writing() as connection:
        connection.execute(update(table).where(*mine).values(holder=None, lease_until=None))


def maybe_free(model: type[Import] | type[BulkAct], now: datetime) -> Any:
    """Return the SQL condition of jobs whose lease may be free: `take` decides."""
    here = model.holder.startswith(f"{socket.gethostname()} ", autoescape=True)
    return or_(model.holder.is_(None), model.lease_until < now, here)


def is_free(holder: str | None, lease_until: datetime | None) -> bool:
    """Tell whether a lease with these values is free now."""
    if holder is None or lease_until is None or lease_until < clock.now():
        return True
    machine, pid, _random = holder.split(" ")
    return machine == socket.gethostname() and not _lives(int(pid))


def _lives(pid: int) -> bool:
    """Tell whether a process of this machine lives. A zombie is dead: it only waits to be collected."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (OSError, IndexError):  # no Linux
        return True
