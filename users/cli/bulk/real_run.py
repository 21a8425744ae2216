"""The import of a file from the command line: plan, consent, run, and how to go on."""

from dataclasses import replace
from pathlib import Path

import click

from users.bulk.imports import at_terminal, examination, jobs, records, running, spool
from users.bulk.imports.at_terminal import ImportRuns, Source
from users.bulk.leases import Lease, LeaseLost
from users.cli.bulk import plan, telling
from users.cli.bulk.dry_run import examine, require_new
from users.cli.bulk.progress import Progress
from users.cli.bulk.stopping import EXIT_STOPPED, Stopping
from users.cli.bulk.telling import Counts, Refusals, Report
from users.cli.bulk.wanted import Wanted
from users.cli.command import EXIT_UNEXPECTED, EXIT_VALIDATION, actor
from users.cli.output import print_json, say, say_done
from users.cli.prompts import confirm, has_terminal
from users.errors import Overloaded, Unavailable
from users.logs import commands
from users.storage.models import Import

_USERS_STAY = "The users made until then stay."


def run(source: Source, wanted: Wanted) -> int:
    """Import the file, or go on with an import of it, and return the exit code."""
    try:
        return _run_or_go_on(source, wanted)
    except ImportRuns as error:
        raise click.UsageError(error.message) from None


def _run_or_go_on(source: Source, wanted: Wanted) -> int:
    job = at_terminal.find_open(source, wanted.options)
    if job and wanted.restart:
        job = at_terminal.give_up(job)
        say(f"{job.id} is given up at row {job.row_number:,}. {_USERS_STAY}")
        job = None
    if job:
        with at_terminal.lease_of(job) as lease:
            _require_same_rejects(job, wanted)
            say(f"Going on with {job.id} at row {job.row_number:,}.")
            return _run(lease, source, wanted)
    job = _begin(source, wanted)
    if job is None:
        say("Stopped. Nothing was imported.")
        return EXIT_STOPPED
    with at_terminal.lease_of(job) as lease:
        return _run(lease, source, wanted)


def _require_same_rejects(job: Import, wanted: Wanted) -> None:
    """Raise UsageError unless the file of rejects is the one that the import has written so far."""
    given = str(wanted.rejects.absolute()) if wanted.rejects else None
    if given != job.rejects_path:
        with_it = f"with --rejects {job.rejects_path}" if job.rejects_path else "without --rejects"
        raise click.UsageError(f"{job.id} of this file was begun {with_it}. Go on so, or begin anew with --restart.")
    if given and job.rejects_bytes and not _has_bytes(Path(given), job.rejects_bytes):
        raise click.UsageError(
            f"{given} has lost rows that {job.id} wrote. Begin anew with --restart and another file."
        )


def _has_bytes(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size >= size
    except OSError:
        return False


def _begin(source: Source, wanted: Wanted) -> Import | None:
    """Say what will be done, ask for consent, and make the import; return None if the command was asked to stop."""
    require_new(wanted.rejects)
    examined = examine(source, wanted, None)
    if examined is None:
        return None
    for sentence in plan.sentences(source, examined, wanted.options):
        say(sentence)
    if not wanted.yes:
        if not has_terminal():
            command = commands.runnable(wanted.command(yes=True))
            raise click.UsageError(f"Give --yes: there is no terminal to ask at. Run: {command}")
        confirm(f"Import {plan.counted(examined.findings.created, 'user')}?")
    require_new(wanted.rejects)  # the run makes it: after a crash before that, the same command goes on
    rejects = wanted.rejects.absolute() if wanted.rejects else None
    try:
        examination.keep_duplicates(source.import_id, examined.duplicates)
        return at_terminal.begin(source, wanted.options, examined, rejects, actor=actor())
    except BaseException:
        spool.remove_after_end(source.import_id)
        raise


def _run(lease: Lease, source: Source, wanted: Wanted) -> int:
    job = records.load(lease)
    if job.ended_at is not None:  # since it was found
        return _ended_elsewhere(job, wanted)
    progress, stopping = Progress(job.rows_done), Stopping()
    refusals = None if wanted.rejects else Refusals(progress)

    def show(now: Import) -> None:
        total = now.rows_total or 0
        progress.show(now.rows_done, total, created=now.created, existing=now.existing, rejected=now.rejected)

    try:
        with stopping.watched():
            running.run(
                lease,
                job=job,
                file=source.path,
                rejects=wanted.rejects,
                version=source.version,
                keep_secrets=True,
                on_progress=show,
                on_refused=refusals,
                should_stop=stopping,
            )
    except KeyboardInterrupt:  # asked twice
        return _stopped(job, wanted)
    except LeaseLost:
        progress.clear()
        return _ended_elsewhere(jobs.find(job.id, actor()), wanted)
    except (Unavailable, Overloaded):
        say(_how_to_go_on(wanted))
        raise
    except OSError as error:
        say(_how_to_go_on(wanted))
        raise click.ClickException(f"A file cannot be read or written ({error.strerror}).") from None
    finally:
        progress.clear()
    if refusals:
        refusals.say_rest()
    return _stopped(job, wanted) if job.state == "running" else _ended(job, wanted)


def _stopped(job: Import, wanted: Wanted) -> int:
    say(f"Stopped with {job.rows_done:,} of {job.rows_total:,} rows done. {_how_to_go_on(wanted)}")
    return EXIT_STOPPED


def _ended_elsewhere(job: Import, wanted: Wanted) -> int:
    """Say why this command cannot go on with an import that it has begun, and return the exit code."""
    if job.ended_at is None:
        say(f"Another command goes on with {job.id}, so this one has ended.")
        return EXIT_UNEXPECTED
    done = f"with {job.rows_done:,} of {job.rows_total:,} rows done"
    by = "by the API, at the page of imports, or by another command"
    say(f"{job.id} was ended from elsewhere {done}: {by}. {_USERS_STAY}")
    others = replace(wanted, rejects=None, restart=False).command(skip_existing=True)
    say(f"To import the other rows: {others}")
    return EXIT_UNEXPECTED


def _how_to_go_on(wanted: Wanted) -> str:
    again = " with the same input" if wanted.file == "-" else ""
    return f"{_USERS_STAY} To go on{again}: {wanted.command()}"


def _ended(job: Import, wanted: Wanted) -> int:
    spool.remove_after_end(job.id)
    if job.state == "failed":
        error = job.error or {}
        say(f"{error.get('message')}.")
        if wanted.as_json:
            print_json({"error": error})
        return EXIT_VALIDATION
    if wanted.rejects and not job.rejected:
        wanted.rejects.unlink(missing_ok=True)
    there = f", {job.existing:,} were there already" if job.existing else ""
    users = plan.counted(job.created, "user")
    say_done(f"Imported: {users} created{there}, {plan.counted(job.rejected, 'row')} rejected.")
    if hint := telling.what_to_mend(wanted, job.rejected):
        say(hint)
    return Report(wanted, Counts(job.rows_done, job.created, job.existing, job.rejected), job.id).show()
