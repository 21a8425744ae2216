"""The row of an import in the database, read and written by the process that holds the lease."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from users import clock
from users.bulk import leases
from users.bulk.imports import made
from users.bulk.leases import Lease, LeaseLost
from users.errors import EnrolError
from users.storage import database
from users.storage.models import Import

_TABLE: Any = Import.__table__


class ImportCrashed(EnrolError):
    """Three processes ended without a word at one place of the file."""

    code = "IMPORT_CRASHED"
    message = "The import crashed three times at the same row, and was given up. The users made until then stay"
    system_message = "Three crashes at one checkpoint"


def load(lease: Lease) -> Import:
    """Return the import. Raises LeaseLost if it is not there any more, and Unavailable."""
    with database.reading() as session:
        job = session.get(Import, lease.job_id)
    if job is None:
        raise LeaseLost
    return job


def reload(lease: Lease, job: Import) -> None:
    """Read `job` anew once a COMMIT whose outcome is unknown has ended, and renew the lease. Raises as `write` does.

    Such a COMMIT may still wait in the database, for a standby. It holds the lock of the row until its end.
    """
    with database.writing() as connection:
        leases.renew(connection, lease, step_ended=False)
        now = connection.execute(select(_TABLE).where(_TABLE.c.id == lease.job_id)).one()
    note(job, now._asdict())


def write(lease: Lease, job: Import, *, step_ended: bool = True, **values: object) -> None:
    """Write `values` to the row, and renew the lease. Raises LeaseLost and Unavailable."""
    with database.writing() as connection:
        leases.renew(connection, lease, step_ended=step_ended, **values)
    note(job, values)


def end(lease: Lease, job: Import, **values: Any) -> None:
    """End the import, and tell the audit trail of the users it made. Raises LeaseLost and Unavailable."""
    values["ended_at"] = clock.now()
    with database.writing() as connection:
        leases.renew(connection, lease, **values)
        made.record(connection, job)
    note(job, values)


def fail(lease: Lease, job: Import, error: EnrolError) -> None:
    """End the import with this error. Raises LeaseLost and Unavailable."""
    end(lease, job, state="failed", error=as_json(error))


def as_json(error: EnrolError) -> dict[str, object]:
    """Return the error as the row keeps it."""
    return {"code": error.code, "message": error.message, "details": error.details}


def note(job: Import, values: Mapping[str, object]) -> None:
    """Set what was written, once it is committed."""
    for name, value in values.items():
        setattr(job, name, value)
