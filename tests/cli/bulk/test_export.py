"""`flask users export`: a new private file that is whole, or standard output."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from support.databases import execute, rows
from support.people import Cast
from users.bulk.export import COLUMNS
from users.errors import Unavailable
from users.services.lists import walk

pytestmark = pytest.mark.one_database
EXPORT = ("users", "export")


def test_file(app: Flask, runner: FlaskCliRunner, cast: Cast, tmp_path: Path) -> None:
    """Only its owner may read it, and standard output says nothing."""
    file = tmp_path / "users.csv"
    result = runner.invoke(args=[*EXPORT, str(file)])
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"Users exported: 4, to {file}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [line.split(b",")[0].decode() for line in file.read_bytes().splitlines()][1:] == [
        one.id for one in (cast.ada, cast.omar, cast.vera, cast.sam)
    ]
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith((".", "users"))] == ["users.csv"]
    assert rows(app, "SELECT actor_kind FROM audit_events WHERE action = 'user.export'") == [("terminal",)]


def test_json(runner: FlaskCliRunner, cast: Cast, tmp_path: Path) -> None:
    file = tmp_path / "users.jsonl"
    result = runner.invoke(args=[*EXPORT, str(file), "--format", "jsonl", "--with-hashes", "--json"])
    told = json.loads(result.stdout)
    assert told.pop("seconds") >= 0
    assert told == {"file": str(file), "users": 4, "columns": [*COLUMNS, "password_hash"]}
    assert json.loads(file.read_text().splitlines()[0])["password_hash"].startswith("$argon2id$")


@pytest.mark.parametrize("file", [[], ["-"]])
def test_standard_output(runner: FlaskCliRunner, cast: Cast, file: list[str]) -> None:
    """As bytes: line ends and the byte order mark stay as they are."""
    result = runner.invoke(args=[*EXPORT, *file, "--excel"])
    assert result.stdout_bytes.startswith(b"\xef\xbb\xbfid,email,")
    assert result.stdout_bytes.count(b"\r\n") == 5
    assert result.stderr == "Users exported: 4\n"


def test_filters(app: Flask, runner: FlaskCliRunner, cast: Cast) -> None:
    execute(app, "UPDATE users SET is_active = false WHERE id = :id", id=cast.omar.id)

    def emails(*options: str) -> list[str]:
        lines = runner.invoke(args=[*EXPORT, "--format", "jsonl", *options]).stdout.splitlines()
        return [json.loads(line)["email"].partition("@")[0] for line in lines]

    assert emails("--active-only") == ["ada", "vera", "sam"]
    assert emails("--deactivated-only") == ["omar"]
    assert emails("--after", cast.omar.id) == ["vera", "sam"]
    assert emails("--domain", "example.com", "--active-only", "--after", cast.vera.id) == ["sam"]
    assert emails("--domain", "other.example") == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--active-only", "--deactivated-only"], "Nobody is both"),
        (["--json"], "With --json name a file"),
        (["--after", "ada"], "takes the id of a user"),
        (["--domain", "no domain"], "takes the domain of email addresses"),
        (["--format", "xlsx"], "'xlsx' is not one of 'csv', 'jsonl'"),
    ],
)
def test_usage(app: Flask, runner: FlaskCliRunner, options: list[str], words: str) -> None:
    result = runner.invoke(args=[*EXPORT, *options])
    assert result.exit_code == 2
    assert words in result.stderr
    assert rows(app, "SELECT 1 FROM audit_events WHERE action = 'user.export'") == []


def test_no_file_is_overwritten(runner: FlaskCliRunner, cast: Cast, tmp_path: Path) -> None:
    """Neither one that is there, nor one that is made meanwhile."""
    file = tmp_path / "users.csv"
    file.write_text("mine")
    result = runner.invoke(args=[*EXPORT, str(file)])
    assert (result.exit_code, file.read_text()) == (2, "mine")
    assert "takes a file that is not there yet" in result.stderr


def test_file_of_meanwhile(runner: FlaskCliRunner, cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, sync = tmp_path / "users.csv", os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (sync(number), file.write_text("mine")))
    result = runner.invoke(args=[*EXPORT, str(file)])
    assert (result.exit_code, file.read_text()) == (2, "mine")
    assert [one.name for one in tmp_path.iterdir() if "users" in one.name] == ["users.csv"]


@pytest.mark.parametrize("error", [Unavailable("it is gone"), KeyboardInterrupt(), OSError(28, "No space left")])
def test_failure_leaves_no_file(
    runner: FlaskCliRunner, cast: Cast, tmp_path: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any) -> Any:
        raise error

    monkeypatch.setattr(walk, "_read", fail)
    result = runner.invoke(args=[*EXPORT, str(tmp_path / "users.csv")])
    assert result.exit_code == 1
    assert [one.name for one in tmp_path.iterdir() if "users" in one.name] == []


def test_folder_that_is_not_there(runner: FlaskCliRunner, tmp_path: Path) -> None:
    result = runner.invoke(args=[*EXPORT, str(tmp_path / "nowhere" / "users.csv")])
    assert result.exit_code == 1
    assert "cannot be written (No such file or directory)" in result.stderr


def test_without_hard_links(
    runner: FlaskCliRunner, cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system without them takes the file all the same."""

    def refuse(*_arguments: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    file = tmp_path / "users.csv"
    assert runner.invoke(args=[*EXPORT, str(file)]).exit_code == 0
    assert len(file.read_bytes().splitlines()) == 5
