"""The class and the actor of all commands. A command ends with data on stdout, or a sentence on stderr and a code."""

import contextlib
import sys
from collections.abc import Iterable
from typing import Any

import click
from alembic.util import CommandError
from flask import current_app
from flask.cli import with_appcontext

from users import ids, logs
from users.actors import Actor, terminal
from users.audit import trail
from users.bulk.files.refusals import FileRefused
from users.bulk.imports.errors import FileTooLarge
from users.cli.output import OutputLost, is_done, print_json, say
from users.errors import Conflict, EnrolError, Invalid, LastAdministrator, NotFound, Unavailable, UserDeactivated
from users.form_errors import KeyEnded
from users.http import error_responses
from users.storage import upgrade

EXIT_UNEXPECTED, EXIT_VALIDATION, EXIT_EXISTS, EXIT_NOT_FOUND = 1, 3, 4, 5  # click itself exits with 2 for usage
_EXIT_CODES: dict[type[EnrolError], int] = {
    Invalid: EXIT_VALIDATION,
    KeyEnded: EXIT_VALIDATION,
    LastAdministrator: EXIT_VALIDATION,
    UserDeactivated: EXIT_VALIDATION,
    FileRefused: EXIT_VALIDATION,
    FileTooLarge: EXIT_VALIDATION,
    Conflict: EXIT_EXISTS,
    NotFound: EXIT_NOT_FOUND,
}


class Command(click.Command):
    """Reports an error by a sentence on stderr and an exit code, and with --json by the API's body on stdout too.

    The first command on a new SQLite instance makes the tables, as a server does, unless `makes_tables` is False.
    """

    makes_tables = True

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. No error shows a traceback: one of a driver or a library may quote what was written."""
        if sys.stdout is None:  # closed: a new key or password, which is shown once, would be lost
            raise click.ClickException("Standard output is closed; there is nowhere to print to.")
        try:
            if self.makes_tables:
                _make_tables()
            return super().invoke(ctx)
        except EnrolError as error:
            _fail(ctx, error)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except OutputLost as lost:
            ctx.exit(_report_lost(lost))
        except Exception as error:
            logs.unexpected(error)
            say("Something went wrong; the line above says where.")
            ctx.exit(EXIT_UNEXPECTED)


@with_appcontext
def _make_tables() -> None:
    try:
        upgrade.make_tables(current_app)
    except CommandError as error:
        raise click.ClickException(str(error)) from None


def _fail(ctx: click.Context, error: EnrolError) -> None:
    """Record a refusal, print the error and end the command with its exit code."""
    request_id = ids.new_request_id()
    target_id = error.user_id if isinstance(error, LastAdministrator) else None
    trail.record_refusal(error, terminal(request_id), target_id)
    for sentence in _sentences(error):
        say(sentence)
    if ctx.params.get("as_json"):
        with contextlib.suppress(OutputLost):
            print_json(error_responses.json_body(error, request_id))
    codes = (code for kind, code in _EXIT_CODES.items() if isinstance(error, kind))
    ctx.exit(next(codes, EXIT_UNEXPECTED))


def _report_lost(lost: OutputLost) -> int:
    """Say that standard output could not be written and return the exit code.

    A reader that ended early (`| head`) has all that it wanted, unless the command has acted: a secret may be lost.
    """
    if is_done():
        say(f"This was done, but what the command prints is lost: standard output cannot be written ({lost}).")
    elif lost.broken_pipe:
        return 0
    else:
        say(f"Standard output cannot be written ({lost}).")
    return EXIT_UNEXPECTED


def _sentences(error: EnrolError) -> Iterable[str]:
    if isinstance(error, Invalid):
        return [one.message for one in error.errors]
    if isinstance(error, Conflict) and error.user_id:
        return [f"{error.message}: {error.user_id}"]
    if isinstance(error, LastAdministrator):
        return [f"{error.message} ({error.user_id})"]
    return [error.hint if isinstance(error, Unavailable) else error.message]


def actor() -> Actor:
    """Return the actor of a command: the operator at the terminal."""
    return terminal(ids.new_request_id())
