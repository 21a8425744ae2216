"""The dry run of an import: the fate of every row as the import would give it now. Nothing is written."""

import os
from contextlib import ExitStack
from pathlib import Path

import click

from users import settings
from users.bulk.files import reading
from users.bulk.imports.at_terminal import Source
from users.bulk.imports.examination import Examination
from users.bulk.imports.rejects import RejectsFile
from users.bulk.judging import Judge
from users.bulk.rows import BadRow
from users.cli.bulk import plan, telling
from users.cli.bulk.progress import Progress
from users.cli.bulk.stopping import EXIT_STOPPED, Stopping
from users.cli.bulk.telling import Counts, Refusals, Report
from users.cli.bulk.wanted import Wanted
from users.cli.command import actor
from users.cli.output import say, say_done


def require_new(path: Path | None) -> None:
    """Raise UsageError if the file of rejects is there already, or cannot be made."""
    if path is None:
        return
    if os.path.lexists(path):
        raise click.BadParameter("takes a file that is not there yet.", param_hint="--rejects")
    if not (path.absolute().parent.is_dir() and os.access(path.absolute().parent, os.W_OK | os.X_OK)):
        raise click.BadParameter("takes a file in a folder that you can write to.", param_hint="--rejects")


def examine(source: Source, wanted: Wanted, refusals: Refusals | None) -> Examination | None:
    """Read the file once, and return what was found; None if the command was asked to stop meanwhile.

    With `refusals` the database is asked too; the refused rows are held there and written to the file of rejects.
    Raises FileRefused.
    """
    progress, stopping, ask_database = Progress(), Stopping(), refusals is not None
    with ExitStack() as stack:
        file = stack.enter_context(source.path.open("rb"))
        layout = reading.look(file, wanted.options)
        judge = Judge(wanted.options, settings.current().rules, actor().permissions)
        rejects = None
        if ask_database and wanted.rejects:
            rejects = stack.enter_context(RejectsFile(wanted.rejects, layout, without_secrets=False))
        examined = Examination(file, layout, judge, ask_database=ask_database)
        stack.enter_context(stopping.watched())
        for chunk in examined.chunks():
            for row, found in chunk if ask_database else ():
                if isinstance(found, BadRow) and rejects:
                    rejects.write(row, found)
                elif isinstance(found, BadRow) and refusals:
                    refusals.hold(found)
            progress.show_read(examined.findings.rows, examined.findings.byte_offset / max(source.size, 1))
            if stopping():
                break
        if rejects:
            rejects.sync()
    progress.clear()
    return None if stopping() else examined


def run(source: Source, wanted: Wanted) -> int:
    """Tell the fate of every row, and return the exit code."""
    require_new(wanted.rejects)
    refusals = Refusals()
    try:
        examined = examine(source, wanted, refusals)
    except BaseException:
        if wanted.rejects:
            wanted.rejects.unlink(missing_ok=True)
        raise
    if examined is None:
        if wanted.rejects:
            wanted.rejects.unlink(missing_ok=True)
        say("Stopped. Nothing was imported.")
        return EXIT_STOPPED
    for sentence in plan.sentences(source, examined, wanted.options):
        say(sentence)
    its = examined.findings
    if not wanted.rejects:
        refusals.say_held()
    there = f", {its.existing:,} are there already" if its.existing else ""
    say_done(f"Dry run: {plan.counted(its.created, 'user')} would be created{there}, {its.rejected:,} rejected.")
    if wanted.rejects and not its.rejected:
        wanted.rejects.unlink()
    if hint := telling.what_to_mend(wanted, its.rejected):
        say(hint)
    return Report(wanted, Counts(its.rows, its.created, its.existing, its.rejected), None).show()
