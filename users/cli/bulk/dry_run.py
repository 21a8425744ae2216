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


def new_file(path: Path | None) -> None:
    """Make the file of rejects, which must not be there yet. Raises UsageError."""
    if path is None:
        return
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise click.BadParameter("takes a file that is not there yet.", param_hint="--rejects") from None
    except OSError as error:
        raise click.BadParameter(f"cannot be written ({error.strerror}).", param_hint="--rejects") from None


def examine(source: Source, wanted: Wanted, *, ask_database: bool) -> Examination | None:
    """Read the file once, and return what was found; None if the command was asked to stop meanwhile.

    Refused rows are told, or written to the file of rejects, where the database is asked. Raises FileRefused.
    """
    progress, stopping = Progress(), Stopping()
    told = Refusals(progress) if ask_database and not wanted.rejects else None
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
                elif isinstance(found, BadRow) and told:
                    told(found)
            progress.show_read(examined.findings.rows, examined.findings.byte_offset / max(source.size, 1))
            if stopping():
                break
        if rejects:
            rejects.sync()
    progress.clear()
    if told:
        told.say_rest()
    return None if stopping() else examined


def run(source: Source, wanted: Wanted) -> int:
    """Tell the fate of every row, and return the exit code."""
    new_file(wanted.rejects)
    try:
        examined = examine(source, wanted, ask_database=True)
    except BaseException:
        if wanted.rejects:
            wanted.rejects.unlink()
        raise
    if examined is None:
        say("Stopped. Nothing was imported.")
        return EXIT_STOPPED
    for sentence in plan.sentences(source, examined):
        say(sentence)
    its = examined.findings
    there = f", {its.existing:,} are there already" if its.existing else ""
    say_done(f"Dry run: {plan.counted(its.created, 'user')} would be created{there}, {its.rejected:,} rejected.")
    if wanted.rejects and not its.rejected:
        wanted.rejects.unlink()
    if hint := telling.what_to_mend(wanted, its.rejected):
        say(hint)
    return Report(wanted, Counts(its.rows, its.created, its.existing, its.rejected), None).print()
