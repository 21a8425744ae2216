"""`flask db adopt-key`: make this installation's secret key the only one that the database is used with."""

import click
from flask.cli import with_appcontext

from users.cli.command import Command, actor
from users.cli.output import say, say_done
from users.cli.prompts import confirm, yes_option
from users.services import secret_key_checks

_WHAT_ENDS = """\
What was made with another secret key ends: forms that are open must be sent again, password and verification links do
not work, a create that is repeated with its Idempotency-Key is refused, and browsers and networks are not known any
more. All counts of wrong passwords start again. The codes of an authenticator app are refused if no key of this
installation opens its secret; flask doctor counts these. Sign-ins, API keys, passwords, passkeys and recovery codes
stay.
Processes with another key answer /readyz with 503 from now on."""


@click.command("adopt-key", cls=Command)
@yes_option
@with_appcontext
def adopt_key_command(yes: bool) -> None:
    """Make this installation's secret key the only one."""
    if not yes:
        say(_WHAT_ENDS)
        confirm("Go on?")
    secret_key_checks.adopt(actor=actor())
    say_done("The database is now used with this secret key alone.")
