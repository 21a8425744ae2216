"""`flask users purge`: erase for good the users who were deleted long ago."""

from datetime import timedelta

import click

from users import clock
from users.cli.arguments import period
from users.cli.command import actor
from users.cli.output import say, say_done, write
from users.cli.prompts import confirm, yes_option
from users.cli.users import users_group
from users.services import user_purge
from users.storage import database


@users_group.command("purge")
@click.option("--deleted-before", metavar="30d", callback=period, required=True, help="How long ago they were deleted.")
@yes_option
def purge_users(deleted_before: timedelta, yes: bool) -> None:
    """Erase for good the users who were deleted long ago; print how many."""
    moment = clock.now() - deleted_before
    if not yes:
        confirm(f"Users to erase for good, with their API keys: {user_purge.count(moment)}. Go on?")
    erased = user_purge.purge_users(moment, actor=actor())
    say_done("Users erased for good:")
    try:
        write(erased)
    finally:  # also if nothing can be printed
        _erase_remains()


def _erase_remains() -> None:
    """Name the copies of the database that hold erased users, and remove their traces from its file."""
    for copy in user_purge.copies_with_erased():
        say(f"Erased users are still in this copy, made before an upgrade. Delete it: {copy}")
    if not database.compact():
        raise click.ClickException(
            "Remains of the erased may still be in the database file or its -wal: another program kept it busy, "
            "or the disk has no room to write it anew. Run this command again."
        )
