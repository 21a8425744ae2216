"""`flask users import`: a file of users is imported, and goes on where it was stopped."""

from pathlib import Path
from typing import Any

import click

from users.bulk.files import encodings
from users.bulk.files.header import column_named
from users.bulk.files.refusals import FileRefused
from users.bulk.options import Options
from users.bulk.rows import COLUMNS
from users.cli.bulk import dry_run, plan, real_run, source
from users.cli.bulk.garbage import collected_rarely
from users.cli.bulk.wanted import Wanted
from users.cli.output import json_option
from users.cli.prompts import yes_option
from users.cli.users import users_group


def _mapped(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    mapped = {}
    for one in given:
        header, equals, name = one.rpartition("=")
        column = column_named(name)
        if not equals or column is None:
            raise click.BadParameter(f'takes "Header=column", with one of {", ".join(COLUMNS)}.')
        mapped[header] = column
    return mapped


def _wanted(
    *,
    file: str,
    is_dry: bool,
    rejects: Path | None,
    yes: bool,
    restart: bool,
    as_json: bool,
    mapped: dict[str, str],
    ignored: tuple[str, ...],
    **options: Any,
) -> Wanted:
    chosen = Options(mapped=mapped, ignored=ignored, **options)
    return Wanted(file, chosen, rejects, is_dry=is_dry, yes=yes, restart=restart, as_json=as_json)


@users_group.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--dry-run", "is_dry", is_flag=True, help="Tell the fate of every row, and write nothing.")
@click.option(
    "--rejects",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A new file for the refused rows, to mend them in.",
)
@click.option("--skip-existing", is_flag=True, help="A user who is there already is no error.")
@click.option(
    "--no-password", is_flag=True, help="Rows may come without a password. Hashes that are too weak are dropped."
)
@click.option("--keep-ids", is_flag=True, help="Take the ids of the file, which an Enrol has made.")
@click.option(
    "--map",
    "mapped",
    metavar="HEADER=COLUMN",
    multiple=True,
    callback=_mapped,
    help=f"What a header means. The columns are {', '.join(COLUMNS)}.",
)
@click.option("--ignore", "ignored", metavar="HEADER", multiple=True, help="A header whose column is not used.")
@click.option(
    "--encoding",
    type=click.Choice(encodings.NAMES, case_sensitive=False),
    help="Of a file that is neither UTF-8 nor UTF-16 with a byte order mark.",
)
@yes_option
@click.option("--restart", is_flag=True, help="Begin anew an import of this file that was stopped.")
@json_option
@click.pass_context
def import_users(context: click.Context, /, **given: Any) -> None:
    """Import the users in a CSV file with a header, or in JSON lines. "-" is standard input.

    The same command goes on where it was stopped.
    """
    wanted = _wanted(**given)
    if wanted.file == source.STANDARD_INPUT and not (wanted.yes or wanted.is_dry):
        raise click.UsageError("Give --yes: the users come on standard input, so there is no terminal to ask at.")
    with source.opened(wanted.file) as opened, collected_rarely():
        try:
            code = (dry_run if wanted.is_dry else real_run).run(opened, wanted)
        except FileRefused as error:
            error.message = f"{error.message}{plan.hint(error)}"
            raise
    context.exit(code)
