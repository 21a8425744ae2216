"""The work on uploaded imports: the check of a file, the start of an import that starts by itself, and its run.

The imports of the command line are none of it: their command does them, where their file is.
"""

from collections.abc import Callable

from sqlalchemy import ColumnElement, and_, false, or_

from users.actors import ActorKind
from users.bulk import runner
from users.bulk.imports import checking, records, running, spool
from users.bulk.imports.rejects import RejectsLost
from users.bulk.leases import Lease
from users.errors import EnrolError
from users.storage.models import Import

StopAsked = Callable[[], bool]


class FileLost(EnrolError):
    """The uploaded file is not in the spool any more, or the file of the rejected rows is not whole."""

    code = "FILE_LOST"
    message = "The file of this import is gone. The users made until then stay. Import the file again"
    system_message = "A file of the import is not in the spool folder, or not whole"

    def __init__(self, *, rejects: bool = False) -> None:
        super().__init__()
        if rejects:
            words = "The users made until then stay. Import the file again, and skip those who exist"
            self.message = f"The file of the rejected rows has lost some of them. {words}"


def _is_here() -> ColumnElement[bool]:
    """Return the SQL condition of uploaded imports that have not ended, and whose files this host has."""
    try:
        machine = spool.known_machine()
    except OSError:
        machine = None
    if machine is None:  # no file has come here
        return false()
    return and_(Import.ended_at.is_(None), Import.machine == machine, Import.actor_kind != ActorKind.TERMINAL)


def is_to_check() -> ColumnElement[bool]:
    """Return the SQL condition of imports whose file is to be checked here."""
    return and_(_is_here(), Import.state == "checking")


def is_to_run() -> ColumnElement[bool]:
    """Return the SQL condition of imports that run here, or start by themselves."""
    clean = and_(Import.starts == "clean", Import.rejected == 0)
    by_itself = and_(Import.state == "checked", or_(Import.starts == "always", clean))
    return and_(_is_here(), or_(Import.state.in_(("waiting", "running")), by_itself))


def check(lease: Lease, should_stop: StopAsked) -> None:
    """Check the file of an import, if that is still to be done. Raises the errors of `checking.check`."""
    _work(
        lease,
        ("checking",),
        lambda job: checking.check(lease, file=spool.path(job.id, spool.FILE), should_stop=should_stop),
    )


def run(lease: Lease, should_stop: StopAsked) -> None:
    """Run an import from where it stands, if that is still to be done. Raises the errors of `running.run`."""

    def go_on(job: Import) -> Import:
        if job.state == "checked":
            records.write(lease, job, step_ended=False, state="waiting", expires_at=None)
        rejects = spool.path(job.id, spool.REJECTS)
        return running.run(lease, file=spool.path(job.id, spool.FILE), rejects=rejects, should_stop=should_stop)

    _work(lease, ("checked", "waiting", "running"), go_on)


def _work(lease: Lease, states: tuple[str, ...], act: Callable[[Import], Import]) -> None:
    job = records.load(lease)
    if job.ended_at is not None or job.state not in states:  # another process was faster
        return
    try:
        job = act(job)
    except FileNotFoundError:  # it was removed, most often since the import was cancelled: then the lease is lost
        records.reload(lease, job)
        records.fail(lease, job, FileLost())
    except RejectsLost:
        records.fail(lease, job, FileLost(rejects=True))
    if job.ended_at is not None:
        spool.remove_after_end(job.id)


runner.KINDS["checks"] = runner.Kind(Import, is_to_check, check)
runner.KINDS["imports"] = runner.Kind(Import, is_to_run, run)
