"""`flask users import` stops at a signal, and the same command goes on where it stopped."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from support.databases import execute, rows
from support.import_files import HEADER, check_sum, csv_of, many, run_import, written
from users.actors import terminal
from users.bulk import leases
from users.bulk.imports import at_terminal, batches, jobs
from users.cli.bulk import plan
from users.cli.bulk.progress import Progress
from users.storage.models import Import

ROWS = 12


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a batch have three rows, so that one file has several."""
    for name in ("FEWEST", "FIRST", "MOST", "ON_POSTGRES"):
        monkeypatch.setattr(batches, name, 3)


@pytest.fixture
def staff(tmp_path: Path) -> str:
    """The path of a file of users, one of whom is there twice, in its last batch."""
    return written(tmp_path, many(ROWS - 1) + csv_of("user1@example.com").removeprefix(HEADER))


def after_a_batch(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let `act` happen after the first batch that the next command commits."""
    show = Progress.show
    acted: list[bool] = []

    def then(self: Progress, *args: int, **counts: int) -> None:
        show(self, *args, **counts)
        if not acted:
            acted.append(True)
            act()

    monkeypatch.setattr(Progress, "show", then)


def stop_after_a_batch(monkeypatch: pytest.MonkeyPatch, number: int = signal.SIGINT) -> None:
    after_a_batch(monkeypatch, lambda: os.kill(os.getpid(), number))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_the_batch(
    app: Flask, runner: FlaskCliRunner, staff: str, monkeypatch: pytest.MonkeyPatch, number: int, tmp_path: Path
) -> None:
    """What was committed stays, the command says how to go on, and the same one does so."""
    before = signal.getsignal(number)
    rejects = tmp_path / "rejects.csv"
    with monkeypatch.context() as patch:
        stop_after_a_batch(patch, number)
        stopped = run_import(runner, staff, "--rejects", str(rejects))
    assert stopped.exit_code == 130
    words = f"Stopped with 3 of {ROWS} rows done. The users made until then stay. To go on: flask users import {staff}"
    assert words in stopped.stderr
    assert stopped.stdout == ""
    assert signal.getsignal(number) is before
    assert len(rows(app, "SELECT id FROM users")) == 3
    (job,) = rows(app, "SELECT * FROM imports")
    assert (job.state, job.rows_done, job.holder, job.ended_at) == ("running", 3, None, None)

    done = run_import(runner, staff, "--rejects", str(rejects))
    assert f"Going on with {job.id} at row 5.\n" in done.stderr
    assert (done.exit_code, done.stdout.strip()) == (6, job.id)
    (job,) = rows(app, "SELECT * FROM imports")
    assert (job.created, job.rejected, job.rows_done) == (ROWS - 1, 1, ROWS)
    assert len(rejects.read_text(encoding="utf-8").splitlines()) == 2
    check_sum(app)


def test_rejects_are_those_of_the_checkpoint(
    app: Flask, runner: FlaskCliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that a killed command wrote behind the last commit are not written twice."""
    bad = "no email,Jo,\n"
    staff = written(tmp_path, HEADER + bad + many(6).removeprefix(HEADER) + bad)
    rejects = tmp_path / "rejects.csv"
    with monkeypatch.context() as patch:
        stop_after_a_batch(patch)
        run_import(runner, staff, "--rejects", str(rejects))
    with rejects.open("a", encoding="utf-8") as file:
        file.write("user5@example.com,Jo,,7,X,half a li")
    assert run_import(runner, staff, "--rejects", str(rejects)).exit_code == 6
    lines = rejects.read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[3] for line in lines[1:]] == ["2", "9"]


@pytest.mark.one_database
def test_another_file_of_rejects_is_refused(
    runner: FlaskCliRunner, staff: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rejects = tmp_path / "rejects.csv"
    with monkeypatch.context() as patch:
        stop_after_a_batch(patch)
        run_import(runner, staff, "--rejects", str(rejects))
    for options in ((), ("--rejects", str(tmp_path / "other.csv"))):
        refused = run_import(runner, staff, *options)
        assert refused.exit_code == 2
        assert f"was begun with --rejects {rejects}." in refused.stderr
    assert run_import(runner, staff, "--rejects", str(rejects)).exit_code == 6


def test_a_lost_file_of_rejects_is_told(
    app: Flask, runner: FlaskCliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows that it held are lost, so the import does not go on as if they were there."""
    staff = written(tmp_path, HEADER + "no email,Jo,\n" + many(6).removeprefix(HEADER))
    rejects = tmp_path / "rejects.csv"
    with monkeypatch.context() as patch:
        stop_after_a_batch(patch)
        run_import(runner, staff, "--rejects", str(rejects))
    rejects.unlink()
    refused = run_import(runner, staff, "--rejects", str(rejects))
    assert refused.exit_code == 2
    assert "has lost rows" in refused.stderr
    anew = run_import(runner, staff, "--restart", "--skip-existing", "--rejects", str(rejects))
    assert anew.exit_code == 6
    check_sum(app)


def test_a_lost_list_of_duplicates_is_found_again(
    app: Flask, runner: FlaskCliRunner, staff: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_after_a_batch(patch)
        run_import(runner, staff)
    for found in (tmp_path / "imports").glob("*.duplicates"):
        found.unlink()
    done = run_import(runner, staff)
    assert "The same email address stands in row 3" in done.stderr
    check_sum(app)


def test_restart(app: Flask, runner: FlaskCliRunner, staff: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The earlier import ends as it is, and the new one finds its users there."""
    with monkeypatch.context() as patch:
        stop_after_a_batch(patch)
        run_import(runner, staff)
    anew = run_import(runner, staff, "--restart")
    assert anew.exit_code == 6
    first, second = rows(app, "SELECT * FROM imports ORDER BY id")
    assert (first.state, first.created, first.rows_done) == ("cancelled", 3, 3)
    assert first.ended_at is not None
    assert (second.state, second.created, second.rejected) == ("finished", ROWS - 4, 4)
    check_sum(app)


def test_other_options_are_another_import(
    app: Flask, runner: FlaskCliRunner, staff: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_after_a_batch(patch)
        run_import(runner, staff)
    assert run_import(runner, staff, "--skip-existing").exit_code == 6
    states = rows(app, "SELECT state, created, existing, rejected FROM imports ORDER BY id")
    assert [tuple(row) for row in states] == [("running", 3, 0, 0), ("finished", ROWS - 4, 3, 1)]
    check_sum(app)


def test_standard_input_goes_on(app: Flask, runner: FlaskCliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        stop_after_a_batch(patch)
        stopped = run_import(runner, "-", stdin=many(ROWS))
    assert "To go on with the same input: flask users import -" in stopped.stderr
    done = run_import(runner, "-", stdin=many(ROWS))
    assert (done.exit_code, len(rows(app, "SELECT id FROM users"))) == (0, ROWS)
    check_sum(app)


def test_a_file_that_changes_is_noticed(
    app: Flask, runner: FlaskCliRunner, staff: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change() -> None:
        with open(staff, "a", encoding="utf-8") as file:
            file.write("eve@example.com,Eve,\n")

    with monkeypatch.context() as patch:
        after_a_batch(patch, change)
        failed = run_import(runner, staff)
    assert failed.exit_code == 3
    assert "The file has changed since it was read first." in failed.stderr
    (job,) = rows(app, "SELECT * FROM imports")
    assert (job.state, job.created) == ("failed", 3)
    check_sum(app)


def test_one_at_a_time(app: Flask, runner: FlaskCliRunner, staff: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second command for the same file is refused while the first runs; --restart takes its place."""
    told = []

    def begin_another() -> None:
        (job,) = rows(app, "SELECT * FROM imports")
        told.append(run_import(runner, staff))
        with app.app_context():
            assert leases.take(Import, job.id) is None
        told.append(run_import(runner, staff, "--restart"))

    with monkeypatch.context() as patch:
        after_a_batch(patch, begin_another)
        first = run_import(runner, staff)
    second, third = told
    assert second.exit_code == 2
    assert "Another command imports this file at the moment" in second.stderr
    assert "--restart" in second.stderr
    assert third.exit_code == 6
    assert first.exit_code == 1
    (given_up,) = rows(app, "SELECT * FROM imports WHERE state = 'cancelled'")
    assert f"{given_up.id} was ended from elsewhere" in first.stderr
    assert sorted(job.state for job in rows(app, "SELECT state FROM imports")) == ["cancelled", "finished"]
    check_sum(app)


def test_the_audit_trail_tells_of_an_import_that_is_given_up(
    app: Flask, runner: FlaskCliRunner, staff: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command that gives it up has found it before its first users were made."""
    given_up: list[str] = []

    def give_up() -> None:
        (job,) = rows(app, "SELECT * FROM imports")
        assert job.created
        with app.app_context():
            at_terminal.give_up(Import(id=job.id, created=0))
        given_up.append(job.id)

    with monkeypatch.context() as patch:
        after_a_batch(patch, give_up)
        run_import(runner, staff)
    events = rows(app, "SELECT target_id FROM audit_events WHERE action = 'user.import'")
    assert [event.target_id for event in events] == given_up
    with app.app_context():
        at_terminal.give_up(Import(id=given_up[0]))
    assert len(rows(app, "SELECT id FROM audit_events WHERE action = 'user.import'")) == 1
    check_sum(app)


def test_cancelled_from_elsewhere(
    app: Flask, runner: FlaskCliRunner, staff: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the API or at the pages. The command says so, and how the other rows can be imported."""

    def cancel() -> None:
        (job,) = rows(app, "SELECT * FROM imports")
        with app.app_context():
            jobs.cancel(job.id, terminal("req_1"))

    with monkeypatch.context() as patch:
        after_a_batch(patch, cancel)
        ended = run_import(runner, staff)
    (job,) = rows(app, "SELECT * FROM imports")
    assert ended.exit_code == 1
    assert ended.stderr.splitlines()[-2:] == [
        f"{job.id} was ended from elsewhere with 3 of 12 rows done: by the API, at the page of imports, or by another "
        "command. The users made until then stay.",
        f"To import the other rows: flask users import {staff} --skip-existing --yes",
    ]
    assert "Traceback" not in ended.stderr
    assert run_import(runner, staff, "--skip-existing").exit_code == 6
    check_sum(app)


@pytest.mark.one_database
def test_taken_up_by_another_process(
    app: Flask, runner: FlaskCliRunner, staff: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when this process was suspended until its lease had ended."""
    with monkeypatch.context() as patch:
        after_a_batch(patch, lambda: execute(app, "UPDATE imports SET holder = 'elsewhere 1 x'"))
        ended = run_import(runner, staff)
    assert ended.exit_code == 1
    assert "Another command goes on with imp_" in ended.stderr


@pytest.mark.one_database
def test_cancelled_before_it_runs(
    app: Flask, runner: FlaskCliRunner, staff: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = at_terminal.begin

    def begin_and_cancel(*given: Any, **more: Any) -> Import:
        job = begin(*given, **more)
        jobs.cancel(job.id, terminal("req_1"))
        return job

    monkeypatch.setattr(at_terminal, "begin", begin_and_cancel)
    ended = run_import(runner, staff)
    assert ended.exit_code == 1
    assert "was ended from elsewhere with 0 of 12 rows done" in ended.stderr
    assert rows(app, "SELECT id FROM users") == []


def test_the_lease_of_a_dead_process_is_free(
    app: Flask, runner: FlaskCliRunner, staff: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash more or less is no reason to give up at the command line: a person looks on."""
    with monkeypatch.context() as patch:
        stop_after_a_batch(patch)
        run_import(runner, staff)
    execute(app, "UPDATE imports SET holder = :holder, crashes = 7", holder=f"{os.uname().nodename} 999999999 x")
    assert run_import(runner, staff).exit_code == 6
    check_sum(app)


@pytest.mark.one_database
@pytest.mark.parametrize("change", ["written to", "replaced"])
def test_a_file_that_changes_before_the_run(
    app: Flask, runner: FlaskCliRunner, staff: str, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """As while the operator thinks about the question: what was counted and compared is another file."""
    sentences = plan.sentences

    def change_it(*args: Any) -> Any:
        path = Path(staff)
        if change == "replaced":
            path.rename(path.with_suffix(".old"))
        path.write_text(many(ROWS, domain="example.org"), encoding="utf-8")
        return sentences(*args)

    monkeypatch.setattr(plan, "sentences", change_it)
    failed = run_import(runner, staff)
    assert failed.exit_code == 3
    assert "The file has changed since it was read first." in failed.stderr
    assert rows(app, "SELECT id FROM users") == []


@pytest.mark.one_database
def test_rejects_follow_no_link(runner: FlaskCliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else may put one into a folder that many can write to, after the name was looked up."""
    theirs, link = tmp_path / "theirs.csv", tmp_path / "rejects.csv"
    theirs.write_text("of another", encoding="utf-8")
    begin = at_terminal.begin

    def begin_and_link(*args: Any, **more: Any) -> Import:
        link.symlink_to(theirs)
        return begin(*args, **more)

    monkeypatch.setattr(at_terminal, "begin", begin_and_link)
    failed = run_import(runner, written(tmp_path, HEADER + "no email,Jo,\n"), "--rejects", str(link))
    assert failed.exit_code == 1
    assert theirs.read_text(encoding="utf-8") == "of another"
