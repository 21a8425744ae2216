"""Sentences for the operator, and the commands in them and on pages as they run in the folder of the installation."""

import contextlib
import re
import sys
from pathlib import Path

import click

import users

_SHOWN = re.compile(r"\bflask (?=(?:audit|db|doctor|keys|run|setup-link|users)\b)")


def _program() -> str:
    """Return `.venv/bin/flask` if that is where this process is from, else `flask`, which is then found by its name.

    Never an absolute path: strangers see some of the commands.
    """
    environment, folder = Path(sys.prefix), Path(users.__file__).parents[1]
    inside = environment.parent.resolve() == folder.resolve()
    return f"{environment.name}/bin/flask" if inside else "flask"


PROGRAM = _program()


def runnable(words: str) -> str:
    """Return `words` with each `flask …` command as it runs in the folder of the installation."""
    return _SHOWN.sub(f"{PROGRAM} ", words)


def runnable_line(line: str) -> str:
    """Return `line` as it runs there if it is a `flask …` command; it may hold the name of a user, which stays."""
    return PROGRAM + line.removeprefix("flask") if line.startswith("flask ") else line


def say(sentence: str) -> None:
    """Print `sentence` on stderr with its commands as they run. A stderr that is full or closed stops nothing."""
    if sys.stderr is None:  # closed: click would print on stdout, among the data
        return
    with contextlib.suppress(OSError, ValueError):
        click.echo(runnable(sentence), file=sys.stderr)
