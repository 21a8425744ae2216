"""What commands print at terminals of all encodings, and where nothing can be printed."""

import errno
import io
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from flask import Flask
from flask.cli import FlaskGroup
from flask.testing import FlaskCliRunner

from app import create_app
from support.application import CHEAP, dispose
from support.command_line import in_a_shell, run
from support.databases import rows
from support.people import PASSWORD, Cast
from users.cli import output
from users.cli.command import Command
from users.storage import database

EMAIL, NAME = "дмитрий@example.com", "Дмитрий é 🐎"
ENCODINGS = ["ascii", "iso-8859-1", "koi8-r", "utf-8"]


def at(app: Flask, encoding: str, *args: str, stdin: str = PASSWORD) -> Any:
    """Run `flask` from its start, at a terminal with this encoding that takes no other character."""
    made: list[Flask] = []

    def create() -> Flask:
        made.append(create_app({**CHEAP, "DATABASE_URL": app.config["SQLALCHEMY_DATABASE_URI"]}))
        return made[0]

    group = FlaskGroup(create_app=create, add_default_commands=False, set_debug_flag=False)
    environment = {"FLASK_RUN_FROM_CLI": "true"}  # Flask sets it, and the runner restores only what it is given
    result = CliRunner(charset=encoding, env=environment).invoke(group, list(args), input=stdin.encode())
    dispose(made[0])
    return result


def test_one_module_prints() -> None:
    """What the commands print goes through `users/cli/output.py` and `users/logs`, where it cannot fail."""
    folder = Path(output.__file__).parent
    printing = [path.name for path in folder.rglob("*.py") if re.search(r"\b(echo|print)\(", path.read_text("utf-8"))]
    assert printing == ["output.py"]


@pytest.mark.one_database
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_any_encoding(app: Flask, encoding: str) -> None:
    """A character that the encoding does not have is escaped, and JSON stays JSON."""
    create = ("users", "create", EMAIL, f"--first-name={NAME}", "--password-stdin", "--json")
    made = at(app, encoding, *create)
    assert (made.exit_code, json.loads(made.stdout_bytes.decode(encoding))["first_name"]) == (0, NAME)
    again = at(app, encoding, *create)
    assert again.exit_code == 4
    assert json.loads(again.stdout_bytes.decode(encoding))["error"]["code"] == "USER_ALREADY_EXISTS"
    assert at(app, encoding, "keys", "create", NAME, "--scope", "users:read").exit_code == 0
    for command in (("users", "list"), ("users", "show", EMAIL), ("keys", "list")):
        table = at(app, encoding, *command)
        assert table.exit_code == 0
        assert NAME in re.sub(
            r"(\\u\w{4})+", lambda one: json.loads(f'"{one[0]}"'), table.stdout_bytes.decode(encoding)
        )
        assert at(app, encoding, *command, "--json").exit_code == 0
    stopped = at(app, encoding, "users", "deactivate", EMAIL, "--json")
    assert (stopped.exit_code, json.loads(stopped.stdout_bytes.decode(encoding))["email"]) == (0, EMAIL)


@pytest.mark.one_database
@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1"])
@pytest.mark.parametrize("args", [("users", "сколько"), ("сколько",), ("users", "list", "--сколько"), ("doctor", "é")])
def test_wrong_usage_in_any_encoding(app: Flask, encoding: str, args: tuple[str, ...]) -> None:
    result = at(app, encoding, *args)
    assert (result.exit_code, type(result.exception)) == (2, SystemExit)


@pytest.mark.one_database
def test_arguments_that_are_no_text(app: Flask) -> None:
    """Bytes that the locale cannot read reach Python as lone surrogates, and end in a sentence."""
    bad = "j\udce9@example.com"
    options = ("--password-stdin",)
    for args, code in (
        (("users", "create", bad, *options), 3),
        (("users", "create", "jo@example.com", "--first-name", bad, *options), 3),
        (("users", "create", "jo@example.com", "--role", bad, *options), 3),
        (("users", "show", bad), 5),
        (("users", "set-password", bad, *options), 5),
        (("keys", "create", bad, "--scope", "users:read"), 3),
        (("keys", "create", "ci", "--scope", bad), 2),
        (("keys", "create", "ci", "--owner", bad), 5),
        (("users", bad), 2),
    ):
        result = at(app, "iso-8859-1", *args)
        assert (result.exit_code, type(result.exception)) == (code, SystemExit), args
        assert result.stderr
        assert "went wrong" not in result.stderr


NO_SPACE = "No space left on device"
LOST = f"This was done, but what the command prints is lost: standard output cannot be written ({NO_SPACE})."


@pytest.mark.one_database
def test_full_stdout(app: Flask) -> None:
    """A command that has acted says so."""
    code, printed, said = in_a_shell(app, "flask users create jo@example.com --generate-password >/dev/full")
    assert (code, printed) == (1, "")
    assert re.fullmatch(rf"User created: jo@example.com \(usr_\w+\)\n{re.escape(LOST)}\n", said)
    assert len(rows(app, "SELECT 1 FROM users")) == 1


@pytest.mark.one_database
def test_closed_stderr(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is for people does not get among the data for a script."""
    monkeypatch.setenv("ENROL_UNKNOWN", "a warning")
    code, printed, said = in_a_shell(app, "flask users create jo@example.com --generate-password 2>&-")
    assert (code, len(printed), said) == (0, 17, "")


@pytest.mark.one_database
def test_reader_that_has_ended(app: Flask) -> None:
    line = "flask keys create ci --scope users:read | true; exit ${PIPESTATUS[0]}"
    code, _, said = in_a_shell(app, line)
    assert code == 1
    assert said.splitlines()[1].endswith("standard output cannot be written (Broken pipe).")


class Full(io.TextIOWrapper):
    """A file on a full disk."""

    def write(self, _text: str) -> int:
        """Fail."""
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def on_a_full_disk(runner: FlaskCliRunner, stream: str, *args: str, stdin: str = PASSWORD) -> Any:
    """Run `flask` with a standard stream that cannot be written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("users.cli.command.Command.make_context", filling(stream))
        return run(runner, *args, stdin=stdin)


def filling(stream: str) -> Callable[..., click.Context]:
    """Return a `make_context` after which the stream cannot be written."""
    make_context = Command.make_context

    def make(command: Command, *args: Any, **more: Any) -> click.Context:
        setattr(sys, stream, Full(io.BytesIO()))
        return make_context(command, *args, **more)

    return make


@pytest.mark.one_database
def test_exit_codes_on_a_full_disk(runner: FlaskCliRunner, cast: Cast) -> None:
    """A refusal keeps its exit code; a command that only reads has done nothing."""
    taken = on_a_full_disk(runner, "stdout", "users", "create", "sam@example.com", "--password-stdin", "--json")
    assert (taken.exit_code, taken.stderr) == (4, f"A user with this email address already exists: {cast.sam.id}\n")
    for args in (("users", "list"), ("users", "show", "sam@example.com"), ("audit", "export"), ("doctor",)):
        result = on_a_full_disk(runner, "stdout", *args)
        assert (result.exit_code, result.stderr) == (1, f"Standard output cannot be written ({NO_SPACE}).\n")
    made = on_a_full_disk(runner, "stderr", "users", "create", "jo@example.com", "--generate-password")
    assert (made.exit_code, len(made.stdout)) == (0, 17)  # it is printed though nothing can be said


@pytest.mark.one_database
def test_purge_on_a_full_disk(runner: FlaskCliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is done to its end though its number cannot be printed."""
    done: list[bool] = []
    monkeypatch.setattr(database, "compact", lambda: not done.append(True))  # type: ignore[func-returns-value]
    result = on_a_full_disk(runner, "stdout", "users", "purge", "--deleted-before", "1d", "--yes")
    assert (result.exit_code, result.stderr, done) == (1, f"Users erased for good:\n{LOST}\n", [True])
