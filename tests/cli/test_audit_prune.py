"""`flask audit prune`."""

from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from support.command_line import run
from support.pruned_events import old, there


def command(file: Path) -> tuple[str, ...]:
    """Return the arguments that need no answer."""
    return ("audit", "prune", "--before", "365d", "--export", str(file), "--yes")


def test_command(app: Flask, runner: FlaskCliRunner, file: Path) -> None:
    old(app, 3)
    told = run(runner, *command(file))
    assert (told.exit_code, told.stdout, told.stderr) == (0, "3\n", "Events pruned from the audit trail:\n")


@pytest.mark.parametrize(("answer", "exit_code"), [("y\n", 0), ("n\n", 1), ("\n", 1)])
def test_confirmation(
    app: Flask, runner: FlaskCliRunner, file: Path, monkeypatch: pytest.MonkeyPatch, answer: str, exit_code: int
) -> None:
    monkeypatch.setattr("users.cli.prompts.has_terminal", lambda: True)
    old(app, 3)
    told = run(runner, *command(file)[:-1], stdin=answer)
    assert told.exit_code == exit_code
    assert f"Events to prune, once they are written to {file}: 3. Go on?" in told.stderr
    assert (len(there(app)), file.exists()) == ((0, True) if exit_code == 0 else (3, False))


@pytest.mark.parametrize(
    "options",
    [
        ("--before", "365d", "--yes"),
        ("--export", "FILE", "--yes"),
        ("--before", "365d", "--export", "FILE"),
        ("--before", "soon", "--export", "FILE", "--yes"),
    ],
    ids=" ".join,
)
def test_wrong_usage(app: Flask, runner: FlaskCliRunner, file: Path, options: tuple[str, ...]) -> None:
    gone = old(app, 3)
    told = run(runner, "audit", "prune", *(str(file) if one == "FILE" else one for one in options))
    assert (told.exit_code, told.stdout) == (2, "")
    assert (there(app), file.exists()) == (gone, False)


def test_file_exists(app: Flask, runner: FlaskCliRunner, file: Path) -> None:
    gone = old(app, 3)
    file.write_text("of last year")
    told = run(runner, *command(file))
    assert (told.exit_code, told.stdout) == (2, "")
    assert "takes a file that is not there yet" in told.stderr
    assert (there(app), file.read_text()) == (gone, "of last year")


def test_file_cannot_be_created(app: Flask, runner: FlaskCliRunner, file: Path) -> None:
    gone = old(app, 3)
    nowhere = file.parent / "nowhere" / "events.jsonl"
    told = run(runner, *command(nowhere))
    assert (told.exit_code, told.stdout) == (1, "")
    words = f"Error: {nowhere} cannot be used (No such file or directory). No event was deleted that is not in it.\n"
    assert told.stderr == words
    assert there(app) == gone
