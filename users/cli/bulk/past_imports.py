"""`flask users imports` and `flask users undo-import`: the imports there were, and one of them taken back."""

from collections.abc import Sequence

import click

from users import ids
from users.bulk import undo
from users.bulk.imports import at_terminal, jobs
from users.bulk.undo import Undone
from users.cli.bulk.plan import counted, printable
from users.cli.bulk.progress import Progress
from users.cli.bulk.stopping import EXIT_STOPPED, Stopping
from users.cli.command import actor
from users.cli.output import is_still_read, json_option, print_json, print_table, say, say_done, write
from users.cli.prompts import confirm, yes_option
from users.cli.users import users_group
from users.clock import rfc3339
from users.storage.models import Import


@users_group.command("imports")
@click.option("--before", metavar="ID", help="Only imports that are older than this one.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@json_option
def list_imports(before: str | None, limit: int, as_json: bool) -> None:
    """List the imports, newest first."""
    if before and not ids.is_import_id(before):
        raise click.BadParameter("takes the id of an import.", param_hint="--before")
    found = jobs.newest(actor(), before=before, limit=limit)
    if as_json:
        print_json([jobs.as_job(job) for job in found])
    else:
        columns = ("ID", "STATE", "FILE", "ROWS", "CREATED", "EXISTING", "REJECTED", "BY", "BEGUN")
        print_table(columns, lambda: map(_row, found))
    if len(found) == limit and is_still_read():
        say(f"There may be more: --before {found[-1].id}")


def _row(job: Import) -> Sequence[str]:
    """Return the cells of an import: the counts are those of the check until it has begun."""
    counts = (job.rows_total, job.created, job.existing, job.rejected)
    return (
        job.id,
        job.state,
        printable(job.name or "-"),
        *("" if count is None else f"{count:,}" for count in counts),
        job.actor_user_id or job.actor_key_id or job.actor_kind,
        rfc3339(job.created_at),
    )


@users_group.command("undo-import")
@click.argument("import_id", metavar="ID")
@click.option("--dry-run", "is_dry", is_flag=True, help="Only count the users.")
@yes_option
@click.pass_context
def undo_import(context: click.Context, /, import_id: str, is_dry: bool, yes: bool) -> None:
    """Delete the users whom an import made, but for those who have changed or signed in since.

    A deleted user can be restored.
    """
    job = jobs.find(import_id, actor())
    if is_dry or not yes:
        would = undo.undo(job, actor=actor(), is_dry=True)
        _say_left(would)
        if is_dry:
            say(f"Dry run: {counted(would.deleted, 'user')} would be deleted.")
            return
        confirm(f"Delete {counted(would.deleted, 'user')} whom {job.id} made?")
    progress, stopping = Progress(), Stopping()
    with stopping.watched():
        job = at_terminal.end_if_stopped(job)
        done = undo.undo(
            job,
            actor=actor(),
            on_progress=lambda now: progress.show_line(f"{now.deleted:,} deleted"),
            should_stop=stopping,
        )
    progress.clear()
    _say_left(done)
    say_done("Users deleted:")
    write(done.deleted)
    if stopping():
        say("Stopped. Run the same command again to go on.")
        context.exit(EXIT_STOPPED)


def _say_left(found: Undone) -> None:
    for reason, count in found.left.most_common():
        say(f"{counted(count, 'user')} not deleted: {reason}.")
