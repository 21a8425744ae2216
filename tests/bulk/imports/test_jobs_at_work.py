"""Imports from the upload to the end, as the child of a server does them, in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from support.databases import execute, rows
from support.imports import upload
from support.people import Cast, as_actor
from users import clock
from users.actors import Actor
from users.bulk import leases, runner
from users.bulk.imports import cleaning, jobs, running, spool
from users.bulk.options import Options
from users.storage.models import Import

FILE = b"email,password_hash\nann@example.com,%s\nbob@example.com,\nno email,\n" % (
    b"$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"
)
OPTIONS = Options(no_password=True)


@pytest.fixture
def ada(app: Flask, cast: Cast) -> Actor:
    """Ada, by a key that may do everything."""
    return as_actor(app, cast.ada)


def work(app: Flask, job: Import, actor: Actor, *kinds: str) -> dict[str, Any]:
    """Do all that is due and return the import as the API shows it."""
    with app.app_context():
        runner.work_here(*kinds)
        return jobs.as_job(jobs.find(job.id, actor))


def spooled(tmp_path: Path) -> list[str]:
    """Return the endings of the spool's files."""
    return sorted(path.suffix for path in (tmp_path / "imports").glob("imp_*"))


def test_from_the_upload_to_the_end(app: Flask, ada: Actor, tmp_path: Path) -> None:
    """Checked first, then started, then finished; then the upload is gone, and the rejects have no secrets."""
    job = upload(app, ada, FILE, options=OPTIONS)
    checked = work(app, job, ada)
    assert (checked["state"], checked["started_at"], checked["makes"]) == ("checked", None, {"bcrypt-10": 1})
    assert checked["rows"] == {"total": 3, "done": 0, "created": 2, "existing": 0, "rejected": 1}
    assert checked["expires_at"]
    assert rows(app, "SELECT 1 FROM users WHERE email LIKE '%bob%'") == []
    with app.app_context():
        jobs.start(job.id, ada)
    finished = work(app, job, ada)
    assert finished["state"] == "finished"
    assert finished["rows"] == {"total": 3, "done": 3, "created": 2, "existing": 0, "rejected": 1}
    assert spooled(tmp_path) == [".rejects"]
    with app.app_context():
        refused = jobs.rejects_file(jobs.find(job.id, ada), ada).read_text()
    assert refused.startswith("email,password_hash,error_row,error_code,error\nno email,,4,INVALID_EMAIL_FORMAT,")
    events = rows(app, "SELECT action FROM audit_events WHERE request_id = :id ORDER BY id", id=job.id)
    assert [action for (action,) in events] == ["user.create", "user.create", "user.import"]


@pytest.mark.parametrize(
    ("start", "content", "state"),
    [
        ("never", FILE, "checked"),
        ("clean", FILE, "checked"),
        ("clean", b"email\nann@example.com\n", "finished"),
        ("always", FILE, "finished"),
        ("always", b"phone\n1\n", "failed"),
    ],
)
@pytest.mark.one_database
def test_start_by_itself(app: Flask, ada: Actor, start: str, content: bytes, state: str) -> None:
    job = upload(app, ada, content, options=OPTIONS, start=start)
    assert work(app, job, ada)["state"] == state


@pytest.mark.one_database
def test_file_that_is_refused(app: Flask, ada: Actor, tmp_path: Path) -> None:
    job = upload(app, ada, b"phone\n1\n")
    shown = work(app, job, ada)
    assert (shown["state"], shown["error"]["code"]) == ("failed", "UNKNOWN_COLUMN")
    assert ".file" not in spooled(tmp_path)


@pytest.mark.one_database
def test_file_that_is_gone(app: Flask, ada: Actor, tmp_path: Path) -> None:
    job = upload(app, ada)
    (tmp_path / "imports" / f"{job.id}.file").unlink()
    assert work(app, job, ada)["error"]["code"] == "FILE_LOST"


@pytest.mark.one_database
@pytest.mark.parametrize("left", [None, b"email,password_hash,err"])
def test_rejects_that_have_lost_rows(app: Flask, ada: Actor, tmp_path: Path, left: bytes | None) -> None:
    """The import fails, and says which of its files it was: the uploaded one is there."""
    job = upload(app, ada, FILE, options=OPTIONS)
    work(app, job, ada)
    rejects = tmp_path / "imports" / f"{job.id}.rejects"
    execute(app, "UPDATE imports SET state = 'running', started_at = created_at, rejects_bytes = 70")
    rejects.unlink()
    if left:
        rejects.write_bytes(left)
    error = work(app, job, ada)["error"]
    assert error["code"] == "FILE_LOST"
    assert error["message"].startswith("The file of the rejected rows has lost some of them.")


@pytest.mark.one_database
@pytest.mark.parametrize("change", ["machine = 'another'", "actor_kind = 'terminal'", "ended_at = created_at"])
def test_what_is_not_done_here(app: Flask, ada: Actor, change: str) -> None:
    """Files of other hosts, imports of the command line, and those that have ended."""
    job = upload(app, ada)
    execute(app, f"UPDATE imports SET {change}")
    assert work(app, job, ada)["state"] == "checking"


def test_crash_is_taken_up(app: Flask, ada: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error keeps the lease, so it counts; after the third, the import has failed."""
    job = upload(app, ada, options=OPTIONS, start="always")

    def crash(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(running, "_begin", crash)
        for crashes in range(leases.MOST_CRASHES):
            with app.app_context(), pytest.raises(ZeroDivisionError):
                runner.work_here()
            assert work(app, job, ada)["state"] == "waiting"  # this process lives, so nobody takes it
            ((found,),) = rows(app, "SELECT crashes FROM imports")
            assert found == crashes
            execute(app, "UPDATE imports SET lease_until = created_at")
    failed = work(app, job, ada)
    assert (failed["state"], failed["error"]["code"]) == ("failed", "IMPORT_CRASHED")


def test_full_disk_is_no_crash(app: Flask, ada: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    job = upload(app, ada, options=OPTIONS, start="always")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(running, "run", full)
        with app.app_context(), pytest.raises(OSError, match="No space"):
            runner.work_here()
    assert work(app, job, ada)["state"] == "finished"
    assert rows(app, "SELECT crashes, holder FROM imports") == [(0, None)]


@pytest.mark.one_database
def test_stop(app: Flask, ada: Actor) -> None:
    """What is asked to stop gives its lease back, and another goes on."""
    job = upload(app, ada, options=OPTIONS, start="always")
    asked = iter([False, True])
    with app.app_context():
        runner.work_here(should_stop=lambda: next(asked, True))
    assert rows(app, "SELECT state, holder FROM imports") == [("checking", None)]
    assert work(app, job, ada)["state"] == "finished"


def test_cancelled_while_it_runs(app: Flask, ada: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step in hand is rolled back, and what the worker has written is no import's."""
    job = upload(app, ada, options=OPTIONS, start="always")
    begin: Callable[..., None] = running._begin

    def cancel_then(*given: Any) -> None:
        begin(*given)
        jobs.cancel(job.id, ada)

    monkeypatch.setattr(running, "_begin", cancel_then)
    shown = work(app, job, ada)
    assert (shown["state"], shown["rows"]["created"]) == ("cancelled", 0)
    assert rows(app, "SELECT 1 FROM users WHERE email LIKE 'ann%'") == []


@pytest.mark.one_database
def test_key_revoked_meanwhile(app: Flask, ada: Actor) -> None:
    job = upload(app, ada, options=OPTIONS)
    work(app, job, ada)
    with app.app_context():
        jobs.start(job.id, ada)
    execute(app, "UPDATE api_keys SET deactivated_at = created_at")
    assert work(app, job, ada)["error"]["code"] == "INSUFFICIENT_PERMISSIONS"


@pytest.mark.one_database
def test_started_by_somebody_who_may_less(app: Flask, ada: Actor, cast: Cast) -> None:
    """It acts with what both hold."""
    admin = b"email,global_role_id\nroot@example.com,role_admin\n"
    job = upload(app, ada, admin, options=OPTIONS)
    work(app, job, ada)
    other = as_actor(app, cast.ada)
    with app.app_context():
        jobs.start(job.id, other)
    execute(app, 'UPDATE api_keys SET scopes = \'["users:import", "users:create"]\' WHERE id = :id', id=other.key_id)
    assert work(app, job, ada)["rows"] == {"total": 1, "done": 1, "created": 0, "existing": 0, "rejected": 1}


@pytest.mark.one_database
def test_nobody_starts_it(app: Flask, ada: Actor, tmp_path: Path) -> None:
    """After a day it expires, and a week later the rejects are gone too."""
    job = upload(app, ada, FILE, options=OPTIONS)
    work(app, job, ada)
    with app.app_context():
        cleaning.clean()
        assert spool.path(job.id, spool.FILE).is_file()
        execute(app, "UPDATE imports SET expires_at = :at", at=clock.now())
        cleaning.clean()
        assert jobs.find(job.id, ada).state == "expired"
        assert spooled(tmp_path) == [".rejects"]
        execute(app, "UPDATE imports SET ended_at = :at", at=clock.now() - cleaning.REJECTS_STAY)
        cleaning.clean()
    assert spooled(tmp_path) == []


def test_a_command_that_nobody_runs_again(app: Flask, ada: Actor) -> None:
    """Its import ends after a week, and the audit trail tells of the users that it has made."""
    job = upload(app, ada, FILE, options=OPTIONS)
    long_ago = clock.now() - cleaning.COMMAND_WAITS
    execute(
        app,
        "UPDATE imports SET actor_kind = 'terminal', state = 'running', started_at = :at, created = 1",
        at=long_ago,
    )
    with app.app_context():
        cleaning.clean()
    (found,) = rows(app, "SELECT state FROM imports")
    (event,) = rows(app, "SELECT target_id FROM audit_events WHERE action = 'user.import'")
    assert (found.state, event.target_id) == ("expired", job.id)
