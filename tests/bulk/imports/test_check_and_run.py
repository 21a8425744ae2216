"""The check and the run of an import: fates, rights that go midway, crashes, a database that is away for a while."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask

from support.databases import everything_stored, execute, rows
from support.import_files import HASH, HEADER, check_sum, csv_of, many
from support.imports import upload
from support.people import PASSWORD, Cast, as_actor
from users.actors import Actor
from users.bulk import leases
from users.bulk.duplicates import Duplicates
from users.bulk.imports import batches, checking, examination, jobs, records, running, spool
from users.bulk.imports.hashing import Hashing
from users.bulk.leases import Lease, LeaseLost
from users.bulk.options import Options
from users.errors import Unavailable
from users.roles import Role
from users.rules.validation import UserChanges
from users.services import api_keys, user_changes
from users.storage import database
from users.storage.models import Import

SECRET = "correct horse battery staple"


@pytest.fixture
def ada(app: Flask, cast: Cast) -> Actor:
    """Ada, by a key that may do everything."""
    return as_actor(app, cast.ada)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a batch have three rows, so that one file has several."""
    for name in ("FEWEST", "FIRST", "MOST", "ON_POSTGRES"):
        monkeypatch.setattr(batches, name, 3)


@contextmanager
def leased(app: Flask, job: Import) -> Iterator[Lease]:
    """Yield the lease of an import."""
    with app.app_context():
        lease = leases.take(Import, job.id)
        assert lease
        yield lease
        leases.give_back(lease)


def check(app: Flask, job: Import, **more: Any) -> Import:
    """Check an import."""
    with leased(app, job) as lease:
        return checking.check(lease, file=spool.path(job.id, "file"), **more)


def run(app: Flask, job: Import, *, crashes: int | None = None, **more: Any) -> Import:
    """Run an import that was checked."""
    with leased(app, job) as lease:
        lease = lease if crashes is None else replace(lease, crashes=crashes)
        file, rejects = spool.path(job.id, "file"), spool.path(job.id, "rejects")
        return running.run(lease, file=file, rejects=rejects, **more)


def once(act: Callable[[], object]) -> Callable[[object], None]:
    """Return what does `act` the first time that it is called."""
    acted: list[bool] = []

    def then(_job: object) -> None:
        if not acted:
            acted.append(True)
            act()

    return then


def test_the_check_inserts_nothing(app: Flask, ada: Actor, tmp_path: Path) -> None:
    """It counts the fates, and keeps what a person decides by: never a password or a hash."""
    text = f"email,password,password_hash\nada@example.com,{SECRET},\nbob@example.com,,{HASH}\nno email,{SECRET},\n\n"
    text += f"eve@example.com,{SECRET},\nEVE@example.com,{SECRET},\nrené@example.com,,md5$ab$0123456789abcdef\n"
    job = upload(app, ada, text.encode())
    before = rows(app, "SELECT id FROM users")
    checked = check(app, job)
    assert (checked.state, checked.rows_total, checked.rows_blank) == ("checked", 6, 1)
    assert (checked.created, checked.existing, checked.rejected, checked.passwords) == (2, 0, 4, 1)
    assert checked.makes == {"bcrypt-12": 1}
    assert checked.columns == ["email", "password", "password_hash"]
    assert checked.expires_at
    assert rows(app, "SELECT id FROM users") == before
    folder = tmp_path / "imports"
    preview = json.loads((folder / f"{job.id}.preview").read_bytes())
    assert [row["email"] for row in preview["rows"]] == ["bob@example.com", "eve@example.com"]
    kept = b"".join(path.read_bytes() for path in folder.iterdir() if path.suffix != ".file")
    for secret in (SECRET, HASH, "md5$ab"):
        assert secret.encode() not in kept
        assert secret not in everything_stored(app)
    assert {oct(path.stat().st_mode)[-3:] for path in folder.iterdir()} == {"600"}


def test_the_run_does_what_the_check_said(app: Flask, ada: Actor, tmp_path: Path) -> None:
    """Its users have the uploader as their maker, and the import's id as the request."""
    job = upload(app, ada, (csv_of("bob@example.com", "eve@example.com") + "no email,Jo,\n").encode())
    check(app, job)
    rejects = tmp_path / "imports" / f"{job.id}.rejects"
    before = rejects.read_bytes()
    done = run(app, job)
    assert (done.state, done.created, done.rejected, done.rows_done) == ("finished", 2, 1, 3)
    assert done.ended_at
    assert rejects.read_bytes() == before
    events = rows(app, "SELECT * FROM audit_events WHERE request_id = :id ORDER BY id", id=job.id)
    assert [(one.action, one.actor_kind, one.actor_user_id, one.actor_key_id) for one in events] == [
        (action, "key", ada.user_id, ada.key_id) for action in ("user.create", "user.create", "user.import")
    ]
    check_sum(app)


@pytest.mark.one_database
def test_an_unknown_column_is_asked_about_at_the_pages(app: Flask, ada: Actor) -> None:
    """A program is told at once that its file failed."""
    text = b"email,phone\nbob@example.com,1\n"
    failed = check(app, upload(app, ada, text))
    job = _of_a_person(app, upload(app, ada, text))
    asked = check(app, job)
    assert (failed.state, asked.state) == ("failed", "columns")
    assert failed.error == asked.error
    assert asked.error
    assert asked.error["details"] == {"columns": ["phone"]}
    assert failed.ended_at
    assert asked.ended_at is None
    execute(app, "UPDATE imports SET state = 'checking', options = :options WHERE id = :id", **_mapped(job))
    assert check(app, job).state == "checked"


def _of_a_person(app: Flask, job: Import) -> Import:
    """Let the import be one that its user asked for at the pages."""
    execute(app, "UPDATE imports SET actor_kind = 'session', actor_key_id = NULL WHERE id = :id", id=job.id)
    return job


def _mapped(job: Import) -> dict[str, str]:
    return {"id": job.id, "options": json.dumps(Options(ignored=("phone",), no_password=True).as_json())}


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("content", "code"), [(b"email\n", "FILE_EMPTY"), (b"email\n\xff@example.com\n", "FILE_ENCODING")]
)
def test_a_file_that_cannot_be_read_fails(app: Flask, ada: Actor, content: bytes, code: str) -> None:
    failed = check(app, upload(app, ada, content))
    assert failed.state == "failed"
    assert failed.error
    assert failed.error["code"] == code


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("lost", ["key", "role", "starter"])
def test_rights_that_go_midway_stop_it(app: Flask, cast: Cast, ada: Actor, lost: str) -> None:
    """The users made until then stay."""
    with app.app_context():
        user_changes.update_user(cast.vera.id, _administrator(), actor=ada)
    job = upload(app, ada, many(9).encode())
    if lost == "role":
        job = _of_a_person(app, job)
    check(app, job)
    starter = json.dumps({"kind": "session", "user_id": cast.vera.id, "key_id": None, "permissions": []})
    execute(app, "UPDATE imports SET started_by = :starter", starter=starter)

    def take_away() -> None:
        if lost == "key":
            api_keys.revoke_key(ada.key_id or "", actor=ada)
        else:
            execute(app, "UPDATE users SET global_role_id = 'role_operator' WHERE id = :id", id=loser)

    loser = cast.ada.id if lost == "role" else cast.vera.id
    failed = run(app, job, on_progress=once(take_away))
    assert (failed.state, failed.created, failed.rows_done) == ("failed", 3, 3)
    assert failed.error
    assert failed.error["code"] == "INSUFFICIENT_PERMISSIONS"
    check_sum(app)


def _administrator() -> UserChanges:
    return UserChanges(frozenset({"global_role_id"}), global_role_id=Role.ADMIN)


@pytest.mark.usefixtures("small_batches")
def test_cancelled_midway(app: Flask, ada: Actor) -> None:
    """The batch in hand is rolled back: it has lost the lease."""
    job = upload(app, ada, many(9).encode())
    check(app, job)
    with app.app_context():
        lease = leases.take(Import, job.id)
        assert lease
        cancel = once(lambda: jobs.cancel(job.id, ada))
        with pytest.raises(LeaseLost):
            running.run(lease, file=_copy(job), rejects=None, on_progress=cancel)
    (found,) = rows(app, "SELECT state, created FROM imports")
    assert tuple(found) == ("cancelled", 3)
    check_sum(app)


def _copy(job: Import) -> Path:
    """Keep the file: a cancelled import removes its own."""
    kept = spool.path(job.id, "kept")
    kept.write_bytes(spool.path(job.id, "file").read_bytes())
    return kept


@pytest.mark.usefixtures("small_batches")
def test_three_crashes_at_one_row_end_it(app: Flask, ada: Actor) -> None:
    job = upload(app, ada, many(9).encode())
    check(app, job)
    stopped: list[object] = []
    run(app, job, on_progress=stopped.append, should_stop=lambda: bool(stopped))
    failed = run(app, job, crashes=leases.MOST_CRASHES)
    assert (failed.state, failed.created) == ("failed", 3)
    assert failed.error
    assert (failed.error["code"], failed.error["details"]) == ("IMPORT_CRASHED", {"row": 5})


@pytest.mark.usefixtures("small_batches")
def test_a_database_that_is_away_for_a_while(app: Flask, ada: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run goes on at the last batch that was committed, and writes each rejected row once."""
    monkeypatch.setattr(running, "PAUSE_SECONDS", 0)
    job = upload(app, ada, (HEADER + "no email,Jo,\n" + many(9).removeprefix(HEADER) + "nor here,Jo,\n").encode())
    check(app, job)
    renew, calls = leases.renew, []

    def sometimes_away(*args: Any, **values: Any) -> None:
        calls.append(values)
        if len(calls) in (2, 4, 5):
            raise Unavailable("The database is away.")
        renew(*args, **values)

    monkeypatch.setattr(leases, "renew", sometimes_away)
    done = run(app, job)
    assert (done.state, done.created, done.rejected) == ("finished", 9, 2)
    told = spool_rejects(app, job)
    assert [line.split(",")[3] for line in told[1:]] == ["2", "12"]
    check_sum(app)
    monkeypatch.setattr(leases, "renew", _away)
    with pytest.raises(Unavailable):
        run(app, upload(app, ada, many(3).encode()))


def test_a_commit_that_ends_late(app: Flask, ada: Actor) -> None:
    """A standby that was away answers it after the run has given it up: the run goes on after it, not before."""
    job = upload(app, ada, many(9).encode())
    check(app, job)
    written = threading.Event()

    def commit_late() -> None:
        with app.app_context(), database.writing() as connection:
            leases.renew(connection, lease, rows_done=3, byte_offset=100)
            written.set()
            time.sleep(0.3)

    with leased(app, job) as lease:
        seen = records.load(lease)
        thread = threading.Thread(target=commit_late)
        thread.start()
        assert written.wait(60)
        records.reload(lease, seen)
        thread.join()
        assert (seen.rows_done, seen.byte_offset, seen.state) == (3, 100, "checked")
        with pytest.raises(LeaseLost):
            records.reload(replace(lease, holder="another"), seen)


def test_the_same_email_twice_by_rules_that_changed(app: Flask, ada: Actor) -> None:
    """A row that was bad at the check may be good at the run. The database then refuses the row after it."""
    job = upload(app, ada, csv_of("bob@example.com", "eve@example.com", "BOB@example.com").encode())
    check(app, job)
    with app.app_context():
        examination.keep_duplicates(job.id, Duplicates())
    done = run(app, job)
    assert (done.state, done.created, done.rejected) == ("finished", 2, 1)
    assert spool_rejects(app, job)[1].split(",")[3:5] == ["4", "USER_ALREADY_EXISTS"]
    check_sum(app)


@pytest.mark.one_database
def test_a_batch_that_waits_keeps_the_lease(app: Flask, ada: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes may take longer than the lease lasts, and so may a large file that must be read once more."""
    text = "email,password\n" + "".join(f"jo{number}@example.com,{SECRET}\n" for number in range(3))
    job = upload(app, ada, text.encode())
    check(app, job)
    with app.app_context():
        spool.path(job.id, "duplicates").unlink()
    monkeypatch.setattr(running, "RENEW_SECONDS", -1)
    kept: list[object] = []
    write = records.write

    def note(*args: Any, **values: Any) -> None:
        write(*args, **values)
        kept.append(values)

    monkeypatch.setattr(records, "write", note)
    assert run(app, job).created == 3
    assert kept.count({"step_ended": False}) == 7  # a chunk, three rows, and three hashes


@pytest.mark.one_database
def test_slow_rows_make_short_chunks(app: Flask, ada: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check renews its lease after each, also where DNS takes seconds for a row."""
    job = upload(app, ada, many(3).encode())
    monkeypatch.setattr(examination, "CHUNK_SECONDS", -1)
    told: list[int] = []
    assert check(app, job, on_progress=lambda now: told.append(now.rows_done)).created == 3
    assert told == [1, 2, 3]


def _away(*_args: Any, **_values: Any) -> None:
    raise Unavailable("The database is away.")


def spool_rejects(app: Flask, job: Import) -> list[str]:
    """Return the lines of the file of rejects."""
    with app.app_context():
        return spool.path(job.id, "rejects").read_text(encoding="utf-8").splitlines()


def test_plain_passwords_are_hashed_once(app: Flask, ada: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row whose user is there already costs no hash: the same file again takes no time."""
    hashed: list[int] = []
    begin = Hashing.begin

    def count(self: Hashing, given: Any) -> Any:
        futures = begin(self, given)
        hashed.extend(futures)
        return futures

    monkeypatch.setattr(Hashing, "begin", count)
    text = f"email,password\n{''.join(f'jo{number}@example.com,{SECRET}{number}' + chr(10) for number in range(40))}"
    for times in range(2):
        job = upload(app, ada, text.encode(), options=Options(skip_existing=bool(times)))
        check(app, job)
        done = run(app, job)
        assert (done.created, done.existing) == ((0, 40) if times else (40, 0))
    assert sorted(hashed) == list(range(2, 42))
    for user in rows(app, "SELECT email, password_hash FROM users WHERE email LIKE 'jo%'"):
        number = user.email.removeprefix("jo").partition("@")[0]
        assert PasswordHasher().verify(user.password_hash, SECRET + number)
    check_sum(app)


@pytest.mark.one_database
def test_a_lost_right_to_import_fails_the_check(app: Flask, ada: Actor) -> None:
    job = upload(app, ada, many(2).encode())
    with app.app_context():
        api_keys.revoke_key(ada.key_id or "", actor=ada)
    failed = check(app, job)
    assert failed.error
    assert (failed.state, failed.error["code"]) == ("failed", "INSUFFICIENT_PERMISSIONS")


@pytest.mark.one_database
def test_a_check_that_is_stopped_begins_anew(app: Flask, ada: Actor) -> None:
    job = upload(app, ada, many(2).encode())
    assert check(app, job, should_stop=lambda: True).state == "checking"
    assert check(app, job).state == "checked"
    assert check(app, upload(app, ada, f"email,password\nbob@example.com,{PASSWORD}\n".encode())).passwords == 1
