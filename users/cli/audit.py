"""`flask audit …`: export the audit trail and prune it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from flask.cli import AppGroup

from users import clock, ids
from users.audit import queries
from users.cli.arguments import period
from users.cli.command import Command, actor
from users.cli.output import say_done, write
from users.cli.prompts import confirm, yes_option
from users.services import audit_prune

audit_group = AppGroup("audit", help="Read the audit trail and prune it.")
audit_group.command_class = Command


@audit_group.command("export")
@click.option("--after", default="", metavar="ID", help="Only events after this one (evt_…).")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), metavar="2026-01-01", help="Only from this day on, in UTC.")
def export_events(after: str, since: datetime | None) -> None:
    """Print the audit trail, oldest first, as JSON lines."""
    if after and not ids.is_event_id(after):
        raise click.BadParameter("takes the id of an event.", param_hint="--after")
    for event in queries.export(after=after, since=since and since.replace(tzinfo=UTC)):
        write(queries.line(event), end="")


@audit_group.command("prune")
@click.option("--before", metavar="365d", callback=period, required=True, help="How long ago the events were.")
@click.option(
    "--export",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    required=True,
    help="A new file, to which they are written first.",
)
@yes_option
def prune_events(before: timedelta, file: Path, yes: bool) -> None:
    """Write old events to a file, then delete them; print how many."""
    moment = clock.now() - before
    if not yes:
        confirm(f"Events to prune, once they are written to {file}: {audit_prune.count(moment)}. Go on?")
    try:
        pruned = audit_prune.prune_events(moment, file, actor=actor())
    except FileExistsError:
        raise click.BadParameter("takes a file that is not there yet.", param_hint="--export") from None
    except OSError as error:
        words = f"{file} cannot be used ({error.strerror}). No event was deleted that is not in it."
        raise click.ClickException(words) from None
    say_done("Events pruned from the audit trail:")
    write(pruned)
