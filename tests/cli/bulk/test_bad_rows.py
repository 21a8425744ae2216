"""The table of bad rows at the command line: what is wrong with each stands in the file of rejects."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from support import bad_rows
from support.bad_rows import CSV, FIRST, LINES, TAKEN, TAKEN_ID, BadRow
from support.databases import execute, rows
from support.import_files import check_sum, run_import, written
from support.people import make_user

Told = tuple[str, str, str]  # the number of the row, its codes, its messages


def from_csv(path: Path) -> list[Told]:
    """Return what the file of rejects tells of each row."""
    text = path.read_text(encoding="utf-8")
    found = csv.DictReader(io.StringIO(text, newline=""))
    return [(row["error_row"], row["error_code"], row["error"]) for row in found]


def from_lines(path: Path) -> list[Told]:
    """Return what the file of rejects tells of each row; what is no object follows on a line of its own."""
    told = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            members = json.loads(line)
        except ValueError:
            continue
        if isinstance(members, dict) and "error_row" in members:
            told.append((str(members["error_row"]), members["error_code"], members["error"]))
    return told


def expected(bad: BadRow, number: int, first: int) -> Told:
    """Return what should be told of a row."""
    errors = bad_rows.expected(bad, first=first)
    codes, messages = (" · ".join(error[name] for error in errors) for name in ("code", "message"))
    return str(number), codes, messages


@pytest.fixture
def _taken(app: Flask) -> None:
    make_user(app, TAKEN)
    other = make_user(app, "other@example.com")
    execute(app, "UPDATE users SET id = :id WHERE id = :other", id=TAKEN_ID, other=other.id)


@pytest.mark.usefixtures("_taken")
@pytest.mark.parametrize("door", [CSV, LINES])
def test_the_table(app: Flask, runner: FlaskCliRunner, tmp_path: Path, door: str) -> None:
    """Each bad row is rejected with the codes and the words of every door, and the good one before them is made."""
    table = bad_rows.rows_of(door)
    is_csv = door == CSV
    text = bad_rows.as_csv(table) if is_csv else bad_rows.as_lines(table)
    numbers: Sequence[int] = list(bad_rows.csv_numbers(table)) if is_csv else range(2, len(table) + 2)
    rejects = tmp_path / "rejects"
    result = run_import(runner, written(tmp_path, text), "--keep-ids", "--rejects", str(rejects), "--json")
    assert result.exit_code == 6, result.stderr
    counts = json.loads(result.stdout)
    assert (counts["rows"], counts["created"], counts["rejected"]) == (len(table) + 1, 1, len(table))
    assert [user.email for user in rows(app, "SELECT email FROM users WHERE email = :email", email=FIRST)] == [FIRST]
    told = (from_csv if is_csv else from_lines)(rejects)
    wanted = [expected(bad, number, 2 if is_csv else 1) for bad, number in zip(table, numbers, strict=True)]
    assert told == wanted


@pytest.mark.usefixtures("_taken")
def test_the_dry_run_says_the_same(app: Flask, runner: FlaskCliRunner, tmp_path: Path) -> None:
    path = written(tmp_path, bad_rows.as_csv(bad_rows.rows_of(CSV)))
    dry, real = tmp_path / "dry.csv", tmp_path / "real.csv"
    run_import(runner, path, "--keep-ids", "--rejects", str(dry), "--dry-run")
    run_import(runner, path, "--keep-ids", "--rejects", str(real))
    assert dry.read_bytes() == real.read_bytes()
    assert len(rows(app, "SELECT id FROM imports")) == 1


def test_the_sum(app: Flask, runner: FlaskCliRunner, tmp_path: Path) -> None:
    path = written(tmp_path, bad_rows.as_csv(bad_rows.rows_of(CSV)))
    run_import(runner, path, "--keep-ids", "--skip-existing")
    run_import(runner, path, "--keep-ids", "--no-password")
    check_sum(app)
