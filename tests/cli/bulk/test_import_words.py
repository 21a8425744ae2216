"""What `flask users import` says of a file that it cannot import as it is: the words name what to do."""

from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from support.databases import rows
from support.import_files import HASH, run_import, written


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
