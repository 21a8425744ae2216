"""The command line: what all commands share. Data on stdout, words on stderr (SPEC, section 4)."""

import itertools
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any

import click
from flask import jsonify

from users import ids, logs
from users.actors import Actor, terminal
from users.audit import trail
from users.errors import Conflict, EnrolError, Invalid, LastAdministrator, NotFound, Unavailable, UserNotFound
from users.http import error_responses
from users.rules import emails
from users.services import user_creation
from users.storage.models import User

EXIT_UNEXPECTED, EXIT_VALIDATION, EXIT_EXISTS, EXIT_NOT_FOUND = 1, 3, 4, 5  # 2, usage, is click's own
_EXIT_CODES: dict[type[EnrolError], int] = {
    Invalid: EXIT_VALIDATION,
    LastAdministrator: EXIT_VALIDATION,
    Conflict: EXIT_EXISTS,
    NotFound: EXIT_NOT_FOUND,
}
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LONGEST = timedelta(days=36500)

json_option = click.option("--json", "as_json", is_flag=True, help="Print what the API would answer.")


class Command(click.Command):
    """A command whose errors are a sentence on stderr (with --json the envelope on stdout too) and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. No error shows a traceback: one of a driver or a library may quote what was written."""
        if sys.stdout is None:  # closed: what is shown once would be shown to nobody
            raise click.ClickException("Standard output is closed; there is nowhere to print to.")
        try:
            return super().invoke(ctx)
        except EnrolError as error:
            self._fail(ctx, error)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:
            raise  # the reader has seen enough (`| head`); click ends quietly
        except Exception as error:
            logs.unexpected(error)
            click.echo("Something went wrong; the line above says where.", err=True)
            ctx.exit(EXIT_UNEXPECTED)

    def _fail(self, ctx: click.Context, error: EnrolError) -> None:
        trace_id = ids.new_request_id()
        target_id = error.user_id if isinstance(error, LastAdministrator) else None
        trail.note_refusal(error, terminal(trace_id), target_id)
        if ctx.params.get("as_json"):
            print_json(error_responses.json_body(error, trace_id))
        for sentence in _sentences(error):
            click.echo(sentence, err=True)
        codes = (code for kind, code in _EXIT_CODES.items() if isinstance(error, kind))
        ctx.exit(next(codes, EXIT_UNEXPECTED))


def _sentences(error: EnrolError) -> Iterable[str]:
    if isinstance(error, Invalid):
        return [one.message for one in error.errors]
    if isinstance(error, Conflict) and error.user_id:
        return [f"{error.message}: {error.user_id}"]
    if isinstance(error, LastAdministrator):
        return [f"{error.message} ({error.user_id})"]
    return [error.hint if isinstance(error, Unavailable) else error.message]


def actor() -> Actor:
    """Return who acts: the operator at the terminal."""
    return terminal(ids.new_request_id())


def period(_context: click.Context, _option: click.Parameter, value: str | None) -> timedelta | None:
    """Return the time that `90d` stands for: the callback of an option."""
    if value is None:
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,6})([mhdw])", value)
    found = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else timedelta.max
    if found > _LONGEST:
        raise click.BadParameter("takes a number and a unit, m, h, d or w: 90d. At most 36500d.")
    return found


def at_a_terminal() -> bool:
    """Tell whether there is somebody to ask."""
    return sys.stdin is not None and sys.stdin.isatty()


def confirm(words: str) -> None:
    """Ask whether to go on and end the command if not; without a terminal, ask for --yes."""
    if not at_a_terminal():
        raise click.UsageError("Give --yes: there is no terminal to ask at.")
    click.confirm(words, abort=True, err=True)


def find_user(reference: str) -> User:
    """Return the user with this id or email."""
    if ids.is_user_id(reference):
        return user_creation.get_user(reference)
    try:
        key = emails.lookup_key(reference)
    except emails.BadEmail:
        raise UserNotFound from None
    return user_creation.get_user_by_email(key)


def print_json(value: object) -> None:
    """Print `value` to the letter as the API would send it."""
    click.echo(jsonify(value).get_data(as_text=True), nl=False)


def print_result(members: dict[str, Any] | None, alone: str) -> None:
    """Print `members` as JSON or, where --json was not given, the one thing a script would want."""
    if members is None:
        click.echo(alone)
    else:
        print_json(members)


def print_array(values: Iterable[object]) -> None:
    """Print `values` as `print_json` would a list of them, but one after another: they may be many."""
    before = "["
    for value in values:
        click.echo(before + jsonify(value).get_data(as_text=True).rstrip("\n"), nl=False)
        before = ","
    click.echo("[]" if before == "[" else "]")


def print_table(columns: Sequence[str], read: Callable[[], Iterable[Sequence[str]]]) -> None:
    """Print the rows that `read` yields under their `columns`, each as wide as it must be.

    They are read twice, once for the widths: a long table then takes no more memory than a short one.
    """
    widths = [len(column) for column in columns]
    for row in read():
        widths = [max(width, len(cell)) for width, cell in zip(widths, row, strict=True)]
    for row in itertools.chain([columns], read()):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
