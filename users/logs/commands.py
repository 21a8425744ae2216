"""The commands that a sentence or a page shows, as they run in the folder of the installation."""

import re
import sys
from pathlib import Path

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
