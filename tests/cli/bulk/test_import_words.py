"""What `flask users import` says of a file that it cannot import as it is: the words name what to do."""

from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from support.command_line import run
from support.databases import rows
from support.import_files import HASH, run_import, written
from support.people import make_user
from users.cli.bulk import plan

GOOD = "correct horse battery staple"


@pytest.mark.one_database
def test_map_takes_the_names_that_headers_may_have(app: Flask, runner: FlaskCliRunner, tmp_path: Path) -> None:
    path = written(tmp_path, f"Adresse,Rolle,Wort\nada@example.com,role_operator,{HASH}\n")
    given = ("--map", "Adresse=E-Mail", "--map", "Rolle=role", "--map", "Wort=Password hash")
    assert run_import(runner, path, *given).exit_code == 0
    assert rows(app, "SELECT email, global_role_id FROM users") == [("ada@example.com", "role_operator")]
    refused = run_import(runner, path, "--map", "Rolle=roll")
    assert refused.exit_code == 2
    assert 'takes "Header=column", with one of email, ' in refused.stderr


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("email,phone", '"phone". Map it or ignore it. To do so: --map "phone=COLUMN", with one of email, '),
        ("email,frist_name", '. Did you mean "first_name"? To do so: --map "frist_name=COLUMN", with one of email, '),
        ("email,phone,fax", '. Map them or ignore them. For each of them: --map "phone=COLUMN", with one of email, '),
    ],
)
def test_unknown_columns(runner: FlaskCliRunner, tmp_path: Path, header: str, words: str) -> None:
    refused = run_import(runner, written(tmp_path, f"{header}\nada@example.com,1,2\n"))
    assert refused.exit_code == 3
    assert words in refused.stderr
    assert refused.stderr.rstrip().endswith(f'; or --ignore "{header.split(",")[1]}"')


@pytest.mark.one_database
def test_the_plan_says_why_rows_cannot_be_imported(app: Flask, runner: FlaskCliRunner, tmp_path: Path) -> None:
    """Each reason once, the most frequent first, with its number of rows and the first of them."""
    make_user(app, "taken@example.com")
    lines = ["no password,", f"no email,{GOOD}", "ada@example.com,", "bob@example.com,short", "eve@example.com,"]
    path = written(tmp_path, "\n".join(["email,password", *lines, f"taken@example.com,{GOOD}", ""]))
    reasons = [
        "6 rows cannot be imported",
        "- 3 rows, the first is row 2: Enter a password",
        "- 2 rows, the first is row 2: Enter an email address in the correct format, like name@example.com",
        "- row 5: Password must be at least 8 characters",
        "- row 7: A user with this email address already exists",
        "3 rows without a password: with --no-password their users come without one; then give them password links",
    ]
    said = run(runner, "users", "import", path, "--dry-run").stderr.splitlines()
    assert said[2:8] == reasons
    said = run(runner, "users", "import", path).stderr.splitlines()  # it asks first: the database is not asked yet
    assert [one for one in said if one.startswith(("- ", "3 rows "))] == [*reasons[1:4], reasons[5]]


@pytest.mark.one_database
def test_few_reasons_are_told(runner: FlaskCliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_REASONS", 1)
    path = written(tmp_path, '{"email":"no email"}\n{"email":"ada@example.com","password":""}\n', "staff.jsonl")
    said = run(runner, "users", "import", path, "--dry-run").stderr.splitlines()
    assert said[1:5] == [
        "2 rows cannot be imported",
        "- 2 rows, the first is row 1: Enter a password",
        "- and 1 more reason",
        "2 rows without a password: with --no-password their users come without one; then give them password links",
    ]


@pytest.mark.one_database
def test_a_file_without_a_column_of_passwords(runner: FlaskCliRunner, tmp_path: Path) -> None:
    """The advice comes once."""
    path = written(tmp_path, "email\nada@example.com\n")
    said = run(runner, "users", "import", path, "--dry-run").stderr
    assert said.count("--no-password") == 1
    assert "No column holds a password. With --no-password" in said
