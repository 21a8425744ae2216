"""`flask users imports` and `flask users undo-import`."""

import json
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner
from sqlalchemy import Connection, event

from support.command_line import run
from support.databases import execute, rows
from support.import_files import HASH, many, run_import, written
from users.actors import terminal
from users.bulk import undo
from users.bulk.imports import at_terminal, batches, jobs
from users.bulk.imports.errors import ImportState
from users.storage.models import db


def made(runner: FlaskCliRunner, folder: Path, text: str) -> str:
    """Import a file and return the id of the import."""
    result = run_import(runner, written(folder, text))
    assert result.exit_code == 0, result.stderr
    imported: str = result.stdout.strip()
    return imported


@pytest.mark.one_database
def test_imports_are_listed(runner: FlaskCliRunner, tmp_path: Path) -> None:
    first = made(runner, tmp_path, many(3))
    second = made(runner, tmp_path, many(2, domain="example.org"))
    table = run(runner, "users", "imports").stdout.splitlines()
    assert table[0].split() == ["ID", "STATE", "FILE", "ROWS", "CREATED", "EXISTING", "REJECTED", "BY", "BEGUN"]
    assert [line.split()[:8] for line in table[1:]] == [
        [second, "finished", "staff.csv", "2", "2", "0", "0", "terminal"],
        [first, "finished", "staff.csv", "3", "3", "0", "0", "terminal"],
    ]
    told = json.loads(run(runner, "users", "imports", "--json").stdout)
    assert [job["id"] for job in told] == [second, first]
    assert told[0]["rows"] == {"total": 2, "done": 2, "created": 2, "existing": 0, "rejected": 0}
    older = run(runner, "users", "imports", "--before", second, "--limit", "1")
    assert first in older.stdout
    assert older.stderr == f"There may be more: --before {first}\n"
    assert run(runner, "users", "imports", "--before", "yesterday").exit_code == 2


def test_undo(app: Flask, runner: FlaskCliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who have changed, signed in or gone stay as they are, and are told."""
    monkeypatch.setattr(undo, "READ_AT_ONCE", 4)
    monkeypatch.setattr(undo, "FIRST", 2)
    other = made(runner, tmp_path, many(2, domain="example.org"))
    imported = made(runner, tmp_path, many(10))
    run(runner, "users", "update", "user1@example.com", "--first-name", "Joanna")
    run(runner, "users", "delete", "user2@example.com", "--yes")
    execute(app, "UPDATE users SET last_login = :now WHERE email = 'user3@example.com'", now=datetime.now(UTC))
    why = [f"1 user not deleted: {one}." for one in ("changed since", "deleted already", "signed in since")]
    would = run(runner, "users", "undo-import", imported, "--dry-run")
    assert sorted(would.stderr.splitlines()) == sorted([*why, "Dry run: 7 users would be deleted."])
    assert run(runner, "users", "undo-import", imported).exit_code == 2  # there is nobody to ask
    assert _living(app) == 11
    done = run(runner, "users", "undo-import", imported, "--yes")
    assert (done.exit_code, done.stdout) == (0, "7\n")
    assert sorted(done.stderr.splitlines()) == sorted([*why, "Users deleted:"])
    assert _living(app) == 4
    deletions = rows(app, "SELECT target_id FROM audit_events WHERE action = 'user.delete'")
    assert len({one.target_id for one in deletions}) == len(deletions) == 8
    assert run(runner, "users", "undo-import", imported, "--yes").stdout == "0\n"
    assert run(runner, "users", "undo-import", other, "--yes").stdout == "2\n"


def test_undo_holds_up_no_other_writer(
    app: Flask, runner: FlaskCliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few users are deleted in one transaction, and fewer where that takes longer than the lock may be held."""
    monkeypatch.setattr(undo, "FIRST", 10)
    monkeypatch.setattr(undo, "FEWEST", 4)
    monkeypatch.setattr(batches, "LOCK_SECONDS", 0)
    imported = made(runner, tmp_path, many(20))
    seen = [0]  # users who are deleted, at the end of each transaction

    def note(connection: Connection) -> None:
        seen.append(connection.exec_driver_sql("SELECT count(*) FROM users WHERE deleted_at IS NOT NULL").scalar_one())

    with app.app_context():
        event.listen(db.engine, "commit", note)
        run(runner, "users", "undo-import", imported, "--yes")
        event.remove(db.engine, "commit", note)
    deleted = [after - before for before, after in pairwise(seen)]
    assert [one for one in deleted if one] == [10, 4, 4, 2]


def test_the_last_administrator_stays(app: Flask, runner: FlaskCliRunner, tmp_path: Path) -> None:
    text = f"email,role,password_hash\nada@example.com,role_admin,{HASH}\nsam@example.com,,{HASH}\n"
    done = run(runner, "users", "undo-import", made(runner, tmp_path, text), "--yes")
    assert done.stdout == "1\n"
    assert "1 user not deleted: the last active administrator.\n" in done.stderr
    assert _living(app) == 1


@pytest.mark.one_database
def test_an_unknown_import_is_exit_5(runner: FlaskCliRunner) -> None:
    assert run(runner, "users", "undo-import", f"imp_{0:032x}", "--yes").exit_code == 5


@pytest.mark.one_database
def test_a_running_import_is_not_undone(app: Flask, runner: FlaskCliRunner, tmp_path: Path) -> None:
    """One that was stopped is ended first: it must not go on afterwards."""
    imported = made(runner, tmp_path, many(3))
    until = datetime(2100, 1, 1, tzinfo=UTC)
    held = "UPDATE imports SET state = 'running', ended_at = NULL, holder = :holder, lease_until = :until"
    execute(app, held, holder="elsewhere 1 x", until=until)
    refused = run(runner, "users", "undo-import", imported, "--yes")
    assert refused.exit_code == 1
    assert refused.stderr == "This import is running, so this cannot be done.\n"
    assert _living(app) == 3
    execute(app, "UPDATE imports SET holder = NULL, lease_until = NULL")
    assert run(runner, "users", "undo-import", imported, "--yes").stdout == "3\n"
    assert [job.state for job in rows(app, "SELECT state FROM imports")] == ["cancelled"]


@pytest.mark.one_database
def test_an_import_that_has_begun_since_the_question_is_not_undone(
    app: Flask, runner: FlaskCliRunner, tmp_path: Path
) -> None:
    imported = made(runner, tmp_path, many(3))
    with app.app_context():
        found = jobs.find(imported, terminal("req_1"))
        found.state, found.ended_at = "waiting", None
        held = "UPDATE imports SET state = 'running', ended_at = NULL, holder = 'elsewhere 1 x', lease_until = :until"
        execute(app, held, until=datetime(2100, 1, 1, tzinfo=UTC))
        with pytest.raises(ImportState):
            at_terminal.end_if_stopped(found)
        execute(app, "UPDATE imports SET holder = NULL")
        assert at_terminal.end_if_stopped(found).rows_done == 3
        assert at_terminal.end_if_stopped(found).state == "cancelled"


def _living(app: Flask) -> int:
    return len(rows(app, "SELECT id FROM users WHERE deleted_at IS NULL"))
