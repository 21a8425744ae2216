"""What a command prints: JSON exactly as the API sends it, one value for a script, a table, or that an act is done."""

import codecs
import contextlib
import io
import itertools
import json
import os
import select
import stat
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click
from flask import jsonify

from users.logs import commands

_ESCAPE = "enrol-escape"
_DONE = "users.cli.done"
_READER_MILLISECONDS = 200

json_option = click.option("--json", "as_json", is_flag=True, help="Print what the API would answer.")


class OutputLost(Exception):
    """Standard output could not be written: its disk is full, or its reader has ended (`broken_pipe`)."""

    def __init__(self, error: OSError | ValueError) -> None:
        super().__init__(getattr(error, "strerror", None) or "it is closed")
        self.broken_pipe = isinstance(error, BrokenPipeError)


def escape_what_cannot_be_encoded() -> None:
    """Let stdout and stderr write a character that their encoding does not have as JSON escapes it, like `\\u0416`.

    Any text can then be printed at any terminal, and JSON stays JSON.
    """
    codecs.register_error(_ESCAPE, _escape)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPE)


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def write(text: object, *, end: str = "\n") -> None:
    """Print `text` on stdout. Raises OutputLost."""
    try:
        # With the stream named, click does not put UTF-8 in the place of ASCII.
        click.echo(f"{text}{end}", file=sys.stdout, nl=False)
    except (OSError, ValueError) as error:
        _discard_the_rest()
        raise OutputLost(error) from error


def write_bytes(some: bytes) -> None:
    """Write `some` to stdout as they are. Raises OutputLost."""
    try:
        click.echo(some, file=sys.stdout, nl=False)
    except (OSError, ValueError) as error:
        _discard_the_rest()
        raise OutputLost(error) from error


def _discard_the_rest() -> None:
    """Let Python write at its end what stdout still holds: it would fail again, with an exit code of its own."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_still_read() -> bool:
    """Tell whether what was printed still has a reader. One of a pipe, like `| head`, gets a moment to end."""
    try:
        file = sys.stdout.fileno()
        if not stat.S_ISFIFO(os.fstat(file).st_mode):
            return True
    except (OSError, ValueError):
        return True
    waiting = select.poll()
    waiting.register(file, 0)  # errors alone: the reader has closed the pipe
    return not waiting.poll(_READER_MILLISECONDS)


def say(sentence: str) -> None:
    """Print `sentence` on stderr, as it is in every process. A stderr that is full or closed stops no command."""
    commands.say(sentence)


def say_done(sentence: str) -> None:
    """Say on stderr that the command has acted, before anything is printed on stdout, which may fail."""
    click.get_current_context().meta[_DONE] = True
    say(sentence)


def is_done() -> bool:
    """Tell whether the command has said that it acted."""
    return _DONE in click.get_current_context().meta


def print_json(value: object) -> None:
    """Print `value` exactly as the API would send it."""
    write(jsonify(value).get_data(as_text=True), end="")


def print_result(members: dict[str, Any] | None, value: str) -> None:
    """Print `members` as JSON or, without --json, only `value`: a script needs no more."""
    if members is None:
        write(value)
    else:
        print_json(members)


def print_array(values: Iterable[object]) -> None:
    """Print `values` as `print_json` prints a list of them, but one after another: there may be many."""
    before = "["
    for value in values:
        write(before + jsonify(value).get_data(as_text=True).rstrip("\n"), end="")
        before = ","
    write("[]" if before == "[" else "]")


def print_table(columns: Sequence[str], read: Callable[[], Iterable[Sequence[str]]]) -> None:
    """Print the rows that `read` yields under `columns`, each column as wide as its longest cell.

    The rows are read twice, first for the widths: a long table then takes no more memory than a short one.
    """
    widths = [len(column) for column in columns]
    for row in read():
        widths = [max(width, len(cell)) for width, cell in zip(widths, row, strict=True)]
    for row in itertools.chain([columns], read()):
        write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
