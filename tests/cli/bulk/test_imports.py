"""`flask users import`: fates, exit codes, the file of rejects, the dry run and consent."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from support.command_line import run
from support.databases import everything_stored, rows
from support.import_files import HASH, check_sum, csv_of, many, run_import, written
from support.people import make_user

SECRET = "correct horse battery staple"
MIXED = f"""\
E-mail;First name;password;error
ada@example.com;Ada;{SECRET};

no email;Bob;{SECRET};
grace@example.com;Grace;{SECRET};
GRACE@example.com;Grace;{SECRET};
taken@example.com;Sam;{SECRET};
"""


@pytest.fixture
def mixed(tmp_path: Path, app: Flask) -> str:
    """The path of a file with two good rows, one bad, one twice, and one whose user is there already."""
    make_user(app, "taken@example.com")
    return written(tmp_path, MIXED)


def emails(app: Flask) -> list[str]:
    """Return the emails of all users."""
    return sorted(user.email for user in rows(app, "SELECT email FROM users"))


def test_every_row_has_a_fate(app: Flask, runner: FlaskCliRunner, mixed: str) -> None:
    """Good rows become users, and stderr says what is wrong with the others."""
    result = run_import(runner, mixed)
    assert result.exit_code == 6
    assert re.fullmatch(r"imp_[0-9a-f]{32}\n", result.stdout)
    assert emails(app) == ["ada@example.com", "grace@example.com", "taken@example.com"]
    assert "Row 4: Enter an email address in the correct format" in result.stderr
    assert "Row 6: The same email address stands in row 5\n" in result.stderr
    assert "Row 7: A user with this email address already exists\n" in result.stderr
    assert "Imported: 2 users created, 3 rows rejected.\n" in result.stderr
    ((job),) = rows(app, "SELECT * FROM imports")
    assert (job.id, job.state, job.rows_total, job.rows_blank) == (result.stdout.strip(), "finished", 5, 1)
    assert (job.created, job.existing, job.rejected, job.passwords) == (2, 0, 3, 3)
    events = rows(app, "SELECT * FROM audit_events WHERE request_id = :id", id=job.id)
    assert sorted(event.action for event in events) == ["user.create", "user.create", "user.import"]
    assert {event.actor_kind for event in events} == {"terminal"}
    (told,) = [event for event in events if event.action == "user.import"]
    assert told.target_id == job.id


def test_the_plan_comes_first(app: Flask, runner: FlaskCliRunner, mixed: str) -> None:
    """Without a terminal the command says what it would do, and asks for --yes."""
    result = run(runner, "users", "import", mixed)
    assert result.exit_code == 2
    said = result.stderr.splitlines()
    assert said[0] == "staff.csv: CSV in UTF-8 with semicolons, 5 rows and 1 blank row"
    assert said[1] == 'Columns: email (from "E-mail"), first_name (from "First name"), password'
    assert said[2] == 'Not used: "error"'
    assert said[3].startswith("Plain passwords: 3. To hash them takes about ")
    assert said[4] == "2 rows cannot be imported"
    assert said[-1].endswith(f"Run: flask users import {mixed} --yes")
    assert rows(app, "SELECT id FROM imports") == []


def test_dry_run_writes_nothing(app: Flask, runner: FlaskCliRunner, mixed: str, tmp_path: Path) -> None:
    before = everything_stored(app)
    rejects = tmp_path / "rejects.csv"
    result = run(runner, "users", "import", mixed, "--dry-run", "--json", "--rejects", str(rejects))
    told = json.loads(result.stdout)
    assert told.pop("seconds") >= 0
    assert told == {
        "id": None,
        "dry_run": True,
        "rows": 5,
        "created": 2,
        "existing": 0,
        "rejected": 3,
        "rejects": str(rejects),
    }
    assert result.exit_code == 6
    assert everything_stored(app) == before
    assert not (tmp_path / "imports").exists()
    real = tmp_path / "real.csv"
    run_import(runner, mixed, "--rejects", str(real))
    assert real.read_bytes() == rejects.read_bytes()


def test_mended_rejects_import(app: Flask, runner: FlaskCliRunner, mixed: str, tmp_path: Path) -> None:
    """The file of rejects is one to import: mended, it loses no row, and takes itself away if nothing is left."""
    rejects, again = tmp_path / "rejects.csv", tmp_path / "again.csv"
    result = run_import(runner, mixed, "--rejects", str(rejects), "--json")
    assert json.loads(result.stdout)["rejects"] == str(rejects)
    assert rejects.stat().st_mode & 0o777 == 0o600
    text = rejects.read_text(encoding="utf-8")
    assert text.splitlines()[1].startswith(f"no email;Bob;{SECRET};")
    mended = text.replace("no email", "bob@example.com").replace("GRACE@", "hopper@").replace("taken@", "sam@")
    rejects.write_text(mended, encoding="utf-8")
    result = run_import(runner, str(rejects), "--rejects", str(again), "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["rejects"] is None
    assert not again.exists()
    assert {"bob@example.com", "hopper@example.com", "sam@example.com"} < set(emails(app))


def test_again_changes_nothing(app: Flask, runner: FlaskCliRunner, tmp_path: Path) -> None:
    """The same command once more makes nobody: each row is refused, or skipped where that was asked for."""
    path = written(tmp_path, many(30))
    assert run_import(runner, path).exit_code == 0
    check_sum(app)
    before = rows(app, "SELECT * FROM users ORDER BY id")
    again = run_import(runner, path)
    assert again.exit_code == 6
    assert "… and 10 more rows.\n" in again.stderr
    skipped = run_import(runner, path, "--skip-existing", "--json")
    assert skipped.exit_code == 0
    assert json.loads(skipped.stdout)["existing"] == 30
    assert rows(app, "SELECT * FROM users ORDER BY id") == before
    assert [(job.created, job.existing, job.rejected) for job in rows(app, "SELECT * FROM imports ORDER BY id")] == [
        (30, 0, 0),
        (0, 0, 30),
        (0, 30, 0),
    ]


def test_standard_input(app: Flask, runner: FlaskCliRunner, tmp_path: Path) -> None:
    """It is kept in the spool meanwhile, and gone at the end."""
    lines = f'{{"email": "ada@example.com", "password_hash": "{HASH}"}}\n'
    refused = run(runner, "users", "import", "-", stdin=lines)
    assert refused.exit_code == 2
    assert run_import(runner, "-", stdin=lines).exit_code == 0
    assert emails(app) == ["ada@example.com"]
    assert list((tmp_path / "imports").glob("imp_*")) == []


@pytest.mark.one_database
def test_file_errors_are_exit_3(app: Flask, runner: FlaskCliRunner, tmp_path: Path) -> None:
    path = written(tmp_path, "email,phone\nada@example.com,1\n")
    result = run_import(runner, path, "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["error"]["code"] == "UNKNOWN_COLUMN"
    assert result.stderr.startswith('Unknown column "phone"')
    assert '--ignore "phone"' in result.stderr
    assert run_import(runner, path, "--ignore", "phone", "--no-password").exit_code == 0
    assert run_import(runner, path, "--map", "phone=telephone").exit_code == 2
    renamed = written(tmp_path, "Anschrift,phone\nbob@example.com,1\n", "other.csv")
    options = ("--map", "Anschrift=email", "--ignore", "phone", "--no-password")
    assert run_import(runner, renamed, *options).exit_code == 0
    assert emails(app) == ["ada@example.com", "bob@example.com"]


@pytest.mark.one_database
def test_rejects_overwrite_nothing(runner: FlaskCliRunner, tmp_path: Path) -> None:
    path = written(tmp_path, csv_of("ada@example.com"))
    for option in ((), ("--dry-run",)):
        result = run_import(runner, path, "--rejects", path, *option)
        assert result.exit_code == 2
        assert "takes a file that is not there yet." in result.stderr
    assert run_import(runner, path, "--rejects", str(tmp_path / "no" / "folder.csv")).exit_code == 2
    assert Path(path).read_text(encoding="utf-8") == csv_of("ada@example.com")


@pytest.mark.one_database
def test_too_large(runner: FlaskCliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, csv_of("ada@example.com"))
    monkeypatch.setattr("users.cli.bulk.source._CHUNK", 64)
    for given, stdin in ((path, ""), ("-", csv_of("ada@example.com"))):
        with monkeypatch.context() as patch:
            _limit(runner, patch, 100)
            result = run_import(runner, given, stdin=stdin)
        assert result.exit_code == 3
        assert result.stderr == "The file must be 100 bytes or smaller.\n"
    assert list((tmp_path / "imports").glob("imp_*")) == []


def _limit(runner: FlaskCliRunner, patch: pytest.MonkeyPatch, most: int) -> None:
    loaded = runner.app.extensions["enrol.settings"]
    patch.setitem(runner.app.extensions, "enrol.settings", dataclasses.replace(loaded, import_max_bytes=most))


@pytest.mark.one_database
def test_a_newcomer_is_told_what_to_do(app: Flask, runner: FlaskCliRunner, tmp_path: Path) -> None:
    """A CSV of Excel in a Western code page, with two bad rows and one twice: each answer names the next option."""
    path, rejects = tmp_path / "staff.csv", tmp_path / "rejects.csv"
    lines = ["E-Mail;Vorname", "anna@example.com;Änne", "bernd@example.com;Jörg", "carla@example,com;Zoë"]
    path.write_bytes("\r\n".join([*lines, "bernd@example.com;Jörg", ";Ülo", ""]).encode("cp1252"))
    said = run_import(runner, str(path), "--map", "Vorname=first_name")
    assert (said.exit_code, said.stderr.count("--encoding windows-1252")) == (3, 1)
    given = ["--encoding", "windows-1252"]
    said = run_import(runner, str(path), *given)
    assert (said.exit_code, said.stderr.count('--map "Vorname=COLUMN"')) == (3, 1)
    given += ["--map", "Vorname=first_name"]
    said = run_import(runner, str(path), *given, "--dry-run")
    assert (said.exit_code, said.stderr.count("With --no-password the users come without one")) == (6, 1)
    given += ["--no-password"]
    said = run_import(runner, str(path), *given, "--rejects", str(rejects))
    assert said.exit_code == 6
    again = f"flask users import {rejects} --no-password --yes --map Vorname=first_name --encoding windows-1252\n"
    assert said.stderr.endswith(f"Mend them there, then: {again}")
    mended = (
        rejects.read_bytes()
        .decode("cp1252")
        .replace("example,com", "example.com")
        .replace("\r\n;", "\r\nu@example.com;")
    )
    rejects.write_bytes(mended.replace("\r\nbernd@", "\r\njoerg@").encode("cp1252"))
    assert run_import(runner, str(rejects), *given).exit_code == 0
    names = rows(app, "SELECT first_name FROM users ORDER BY first_name")
    assert sorted(name for (name,) in names) == ["Jörg", "Jörg", "Zoë", "Änne", "Ülo"]


def test_no_secret_is_told(app: Flask, runner: FlaskCliRunner, tmp_path: Path) -> None:
    """Neither what is printed nor what is stored holds a password, whether its row is good or not."""
    lines = ["email,password,password_hash", f"ada@example.com,{SECRET},", f"bob@example.com,short7!,{HASH}x"]
    path = written(tmp_path, "\n".join([*lines, "eve@example.com,qq!3,", "no email,,md5$ab$0123"]))
    said = [run_import(runner, path, *options) for options in ((), ("--dry-run",), ("--json",))]
    told = "".join(result.stdout + result.stderr for result in said) + everything_stored(app)
    for secret in (SECRET, "short7!", "qq!3", "md5$ab", HASH):
        assert secret not in told
