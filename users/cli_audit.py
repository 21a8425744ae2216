"""`flask audit …`: the audit trail, to be kept elsewhere."""

import json
from datetime import UTC, datetime

import click
from flask.cli import AppGroup

from users import audit_trail, ids
from users.cli import Command

audit_group = AppGroup("audit", help="Read the audit trail.")
audit_group.command_class = Command


@audit_group.command("export")
@click.option("--after", default="", metavar="ID", help="Only events after this one (evt_…).")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), metavar="2026-01-01", help="Only from this day on, in UTC.")
def export(after: str, since: datetime | None) -> None:
    """Print the audit trail, oldest first, as JSON lines."""
    if after and not ids.is_event_id(after):
        raise click.BadParameter("takes the id of an event.", param_hint="--after")
    for event in audit_trail.export(after=after, since=since and since.replace(tzinfo=UTC)):
        click.echo(json.dumps(event.as_event()))  # in ASCII: no text can end a line or turn it round
