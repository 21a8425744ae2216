"""The commands that Enrol shows run in the folder of the installation."""

import sys
from pathlib import Path

import pytest

import users
from users.logs import commands

ROOT = Path(users.__file__).parents[1]


@pytest.mark.parametrize(
    ("prefix", "program"),
    [
        (ROOT / ".venv", ".venv/bin/flask"),
        (ROOT / "env", "env/bin/flask"),
        (ROOT.parent / "env", "flask"),
        (Path("/usr"), "flask"),
    ],
)
def test_program(monkeypatch: pytest.MonkeyPatch, prefix: Path, program: str) -> None:
    """That of the environment in the folder, and never an absolute path."""
    monkeypatch.setattr(sys, "prefix", str(prefix))
    assert commands._program() == program


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("No key. Run: flask keys create my-app", "No key. Run: .venv/bin/flask keys create my-app"),
        ("flask setup-link", ".venv/bin/flask setup-link"),
        ("Run flask as the service's user.", "Run flask as the service's user."),
        ("run flask db upgrade, then flask doctor.", "run .venv/bin/flask db upgrade, then .venv/bin/flask doctor."),
    ],
)
def test_runnable(monkeypatch: pytest.MonkeyPatch, words: str, shown: str) -> None:
    monkeypatch.setattr(commands, "PROGRAM", ".venv/bin/flask")
    assert commands.runnable(words) == shown


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("flask setup-link", ".venv/bin/flask setup-link"),
        ("flask users create --first-name 'flask users'", ".venv/bin/flask users create --first-name 'flask users'"),
        ('curl -d \'{"first_name": "flask users"}\'', 'curl -d \'{"first_name": "flask users"}\''),
    ],
)
def test_runnable_line(monkeypatch: pytest.MonkeyPatch, line: str, shown: str) -> None:
    """A name that looks like a command stays in the call that a page shows."""
    monkeypatch.setattr(commands, "PROGRAM", ".venv/bin/flask")
    assert commands.runnable_line(line) == shown
