"""The check of an uploaded file: the fate of every row as the run would give it now, for people to decide by."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

from users import clock, settings
from users.actors import ActorKind
from users.bulk import leases
from users.bulk.files import reading
from users.bulk.files.refusals import FileRefused
from users.bulk.imports import actors, examination, hashing, records, spool
from users.bulk.imports.examination import Examination, Findings
from users.bulk.imports.records import ImportCrashed
from users.bulk.imports.rejects import RejectsFile
from users.bulk.judging import Judge
from users.bulk.leases import Lease
from users.bulk.options import Options
from users.bulk.rows import BadRow, GoodRow
from users.clock import rfc3339
from users.errors import Denied, Overloaded
from users.roles import Permission
from users.storage.models import Import

WAITS = timedelta(hours=24)  # a checked import, for its start
RENEW_SECONDS = 2.0
ABOUT_COLUMNS = {"UNKNOWN_COLUMN", "MISSING_COLUMN", "DUPLICATE_COLUMN"}  # which a person at the pages can explain


def check(
    lease: Lease,
    *,
    file: Path,
    on_progress: Callable[[Import], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Import:
    """Find the fate of every row of the file, write the counts to the import, and return it.

    Its state is `checked` then, `failed` for a file or an actor that is refused, `columns` where a person at the pages
    has to say what the header means, and still `checking` after `should_stop`. The spool then holds the refused rows,
    the duplicates and the preview. Raises LeaseLost, Unavailable and OSError: the next check begins anew.
    """
    job = records.load(lease)
    try:
        if lease.crashes >= leases.MOST_CRASHES:
            raise ImportCrashed(details={"row": job.row_number})
        _check(lease, job, file, on_progress, should_stop)
    except FileRefused as error:
        if error.code in ABOUT_COLUMNS and job.actor_kind == ActorKind.SESSION:
            told = records.as_json(error)
            records.write(lease, job, state="columns", error=told, expires_at=clock.now() + WAITS)
        else:
            records.fail(lease, job, error)
    except (Denied, ImportCrashed) as error:
        records.fail(lease, job, error)
    return job


def _check(
    lease: Lease,
    job: Import,
    path: Path,
    on_progress: Callable[[Import], None] | None,
    should_stop: Callable[[], bool],
) -> None:
    actor = actors.actor_of(job)
    actor.require(Permission.USERS_IMPORT)
    options = Options.from_json(job.options)
    with ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        layout = reading.look(file, options)
        judge = Judge(options, settings.current().rules, actor.permissions)
        examined = Examination(file, layout, judge, ask_database=True)
        rejects = stack.enter_context(RejectsFile(spool.path(job.id, "rejects"), layout))
        renewed = clock.monotonic()
        for chunk in examined.chunks():
            for row, found in chunk:
                if isinstance(found, BadRow):
                    rejects.write(row, found)
            if should_stop():
                return
            records.note(job, _so_far(examined.findings))
            if clock.monotonic() - renewed > RENEW_SECONDS:
                records.write(lease, job, step_ended=False, **_so_far(examined.findings))
                renewed = clock.monotonic()
            if on_progress:
                on_progress(job)
        rejects.sync()
    examination.keep_duplicates(job.id, examined.duplicates)
    _keep_preview(job.id, examined)
    now = clock.now()
    records.write(lease, job, **_counts(examined), state="checked", checked_at=now, expires_at=now + WAITS, error=None)


def _so_far(findings: Findings) -> dict[str, Any]:
    """Return what is shown while the check goes on: the rows that were read and the place in the file."""
    return {"rows_done": findings.rows, "byte_offset": findings.byte_offset}


def _counts(examined: Examination) -> dict[str, Any]:
    its = examined.findings
    return {
        "rows_total": its.rows,
        "rows_blank": its.blank,
        "rows_done": 0,
        "byte_offset": 0,
        "created": its.created,
        "existing": its.existing,
        "rejected": its.rejected,
        "makes": dict(its.makes),
        "passwords": its.passwords,
        "columns": [column for column in examined.layout.columns if column],
    }


def _keep_preview(import_id: str, examined: Examination) -> None:
    """Keep what a person sees before the run: never a password or a hash."""
    preview = {
        "rows": [_shown(good) for good in examined.findings.first_created],
        "notices": list(examined.layout.notices),
        "administrators": examined.findings.administrators,
        "names_administrators": examined.findings.names_administrators,
        "without_password": examined.findings.without_password,
        "hashing_seconds": _seconds_for(examined.findings.passwords),
    }
    with spool.create(import_id, "preview") as file:
        file.write(json.dumps(preview).encode())


def _seconds_for(passwords: int) -> float | None:
    try:
        return hashing.seconds_for(passwords)
    except Overloaded:
        return None


def _shown(good: GoodRow) -> dict[str, Any]:
    moments = {"last_verified": good.last_verified, "created_at": good.created_at}
    return {
        "number": good.number,
        "email": good.email.text,
        "first_name": good.first_name,
        "last_name": good.last_name,
        "global_role_id": good.role,
        "is_active": good.is_active,
        **{name: rfc3339(moment) if moment else None for name, moment in moments.items()},
        "id": good.id,
    }
