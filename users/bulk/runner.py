"""The runner: it finds the jobs that are due, and works on them beside the requests.

A serving process has a child for each kind of work that is due, so a long import holds up no request, and neither the
check of another file nor an act on many users. Several servers may do so at once: the leases decide who works on which
job.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from flask import Flask, current_app
from sqlalchemy import ColumnElement, select

from users.bulk import leases
from users.bulk.children import Children
from users.bulk.leases import Lease, LeaseLost
from users.errors import EnrolError, Unavailable
from users.storage import database
from users.storage.models import BulkAct, Import


@dataclass(frozen=True)
class Kind:
    """A kind of work.

    `is_due` returns the SQL condition of its jobs. `work` does one until it ends, or until the function that it is
    given says that it should stop.
    """

    model: type[Import] | type[BulkAct]
    is_due: Callable[[], ColumnElement[bool]]
    work: Callable[[Lease, Callable[[], bool]], object]


KINDS: dict[str, Kind] = {}


def begin_to_serve(app: Flask) -> None:
    """Let the requests to `app` find work that is due. Only servers call this: commands start no children."""
    app.extensions["enrol.children"] = children = Children(app, due)
    app.before_request_funcs.setdefault(None, []).insert(0, children.look_if_time)  # refused requests look too


def wake() -> None:
    """Let a job that was just committed begin at once. In a process that does not serve, a server finds it."""
    if children := current_app.extensions.get("enrol.children"):
        children.look()


def due() -> list[str]:
    """Return the kinds of which a job is due and no process works on it. Raises Unavailable."""
    return [name for name, kind in KINDS.items() if next(_free(kind), None)]


def work_here(*kinds: str, should_stop: Callable[[], bool] = lambda: False) -> None:
    """Do all work of these kinds that is due (none: of all), until `should_stop`. Raises Unavailable.

    An unexpected error ends it and keeps the lease of the job: when this process has ended, it counts as a crash.
    """
    for name in kinds or KINDS:
        while not should_stop() and (lease := _take_next(KINDS[name])):
            _work(KINDS[name], lease, should_stop)


def _work(kind: Kind, lease: Lease, should_stop: Callable[[], bool]) -> None:
    try:
        kind.work(lease, should_stop)
    except LeaseLost:  # another process goes on, or the job was cancelled
        return
    except (EnrolError, OSError):  # the database or the disk: no crash, so another process may go on at once
        with contextlib.suppress(Unavailable):
            leases.give_back(lease)
        raise
    leases.give_back(lease)


def _take_next(kind: Kind) -> Lease | None:
    return next((lease for job_id in _free(kind) if (lease := leases.take(kind.model, job_id))), None)


def _free(kind: Kind) -> Iterator[str]:
    """Yield the ids of the due jobs that no process works on, oldest first."""
    table: Any = kind.model.__table__
    asked = select(table.c.id, table.c.holder, table.c.lease_until).where(kind.is_due()).order_by(table.c.id)
    with database.reading() as session:
        found = session.execute(asked).all()
    return (row.id for row in found if leases.is_free(row.holder, row.lease_until))
