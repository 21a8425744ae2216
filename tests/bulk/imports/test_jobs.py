"""Imports taken in, found, started and cancelled, before any work is done on them."""

import hashlib
import io
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from support.databases import execute, rows
from support.imports import CSV, set_state, submit, upload
from support.people import Cast, as_actor, make_key
from users import clock
from users.actors import Actor, ActorKind, terminal
from users.bulk.imports import jobs, spool
from users.bulk.imports.errors import (
    FileTooLarge,
    ImportElsewhere,
    ImportNotFound,
    ImportState,
    SpoolUnavailable,
    TooManyImports,
    in_units,
)
from users.bulk.options import Options
from users.errors import ApiKeyDeactivated, Denied, IdempotencyKeyReused
from users.roles import Permission
from users.services import idempotency
from users.storage.models import Import


@pytest.fixture
def ada(app: Flask, cast: Cast) -> Actor:
    """Ada, by a key that may do everything."""
    return as_actor(app, cast.ada)


@pytest.fixture
def limited(app: Flask) -> Actor:
    """A service key that may import and nothing else."""
    make_key(app, Permission.USERS_IMPORT, name="limited")
    ((key_id,),) = rows(app, "SELECT id FROM api_keys WHERE name = 'limited'")
    return Actor(ActorKind.KEY, frozenset({Permission.USERS_IMPORT}), key_id=key_id)


def spooled(tmp_path: Path) -> list[str]:
    """Return the names of the spool's files."""
    return sorted(path.name for path in (tmp_path / "imports").iterdir() if path.name != "machine")


def test_upload(app: Flask, ada: Actor, tmp_path: Path) -> None:
    """A file is on disk for Enrol's user alone, and its import waits for the check."""
    job = upload(app, ada, name="st\u202eaff.csv\n", options=Options(skip_existing=True))
    file = tmp_path / "imports" / f"{job.id}.file"
    assert file.read_bytes() == CSV
    assert [oct(path.stat().st_mode)[-3:] for path in (file, file.parent, file.with_name("machine"))] == [
        "600",
        "700",
        "600",
    ]
    with app.app_context():
        shown = jobs.as_job(jobs.find(job.id, ada))
    assert shown.pop("created_at").endswith("Z")
    assert shown == {
        "id": job.id,
        "state": "checking",
        "name": "staff.csv",
        "bytes": len(CSV),
        "sha256": hashlib.sha256(CSV).hexdigest(),
        "rows": {"total": None, "done": 0, "created": 0, "existing": 0, "rejected": 0},
        "makes": {},
        "error": None,
        "created_by": ada.user_id,
        "checked_at": None,
        "started_at": None,
        "ended_at": None,
        "expires_at": None,
    }


class Breaking(io.BytesIO):
    """A stream whose connection ends after the first bytes."""

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes, or raise at the end."""
        if found := super().read(size):
            return found
        raise EOFError


@pytest.mark.one_database
def test_nothing_stays_of_a_broken_upload(app: Flask, ada: Actor, tmp_path: Path) -> None:
    with app.app_context(), pytest.raises(EOFError):
        jobs.submit(Breaking(CSV), name=None, options=Options(), start="never", idempotency_key=None, actor=ada)
    assert spooled(tmp_path) == []
    assert rows(app, "SELECT id FROM imports") == []


class Endless(io.BytesIO):
    """A stream that never ends, and counts what was read of it."""

    count = 0

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes."""
        assert size
        self.count += size
        return b"x" * size


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 bytes"),
        (1023, "1,023 bytes"),
        (1024, "1 KiB"),
        (100_000, "100,000 bytes"),
        (1024 * 1024 + 1, "1,048,577 bytes"),
        (512 * 1024 * 1024, "512 MiB"),
        (3 * 1024**3, "3 GiB"),
        (1025 * 1024**3, "1,025 GiB"),
    ],
)
def test_sizes_are_not_rounded(count: int, words: str) -> None:
    """A limit that was rounded up would let a file seem to fit."""
    assert in_units(count) == words


@pytest.mark.one_database
@pytest.mark.parametrize("settings", [{"ENROL_IMPORT_MAX_BYTES": "1048576"}])
def test_too_large_is_refused_while_it_arrives(app: Flask, ada: Actor, tmp_path: Path) -> None:
    stream = Endless()
    given: Any = {"name": None, "options": Options(), "start": "never", "idempotency_key": None, "actor": ada}
    with app.app_context(), pytest.raises(FileTooLarge) as raised:
        jobs.submit(stream, **given)
    assert raised.value.message == "The file must be 1 MiB or smaller."
    assert stream.count < 1_200_000
    assert spooled(tmp_path) == []


@pytest.mark.one_database
def test_full_disk(app: Flask, ada: Actor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither file nor import, and an answer that says to try again."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(SpoolUnavailable) as raised:
        upload(app, ada)
    assert (raised.value.status, raised.value.code) == (503, "SERVICE_UNAVAILABLE")
    assert spooled(tmp_path) == []
    assert rows(app, "SELECT id FROM imports") == []


@pytest.mark.one_database
def test_key_revoked_while_the_file_arrives(app: Flask, ada: Actor, tmp_path: Path) -> None:
    execute(app, "UPDATE api_keys SET deactivated_at = created_at")
    with pytest.raises(ApiKeyDeactivated):
        upload(app, ada)
    assert spooled(tmp_path) == []


def test_same_key_and_file_are_one_import(app: Flask, ada: Actor, limited: Actor, tmp_path: Path) -> None:
    """Another file or other options under the key are refused; another caller's key is another one."""
    first = upload(app, ada, idempotency_key="one")
    again = submit(app, ada, idempotency_key="one")
    assert (again.job.id, again.replayed) == (first.id, True)
    others: tuple[dict[str, Any], ...] = (
        {"content": b"email\n"},
        {"options": Options(no_password=True)},
        {"start": "always"},
    )
    for other in others:
        with pytest.raises(IdempotencyKeyReused):
            upload(app, ada, **{"idempotency_key": "one", **other})
    assert upload(app, limited, idempotency_key="one").id != first.id
    assert len(spooled(tmp_path)) == 2


def test_a_key_ends_after_a_day(app: Flask, ada: Actor) -> None:
    """The same file under it is then another import, and so is another file. The import before stays."""
    first = upload(app, ada, idempotency_key="one").id
    nearly = clock.now() - idempotency.KEPT + clock.RECENT
    execute(app, "UPDATE imports SET created_at = :at", at=nearly)
    assert upload(app, ada, idempotency_key="one").id == first
    execute(app, "UPDATE imports SET created_at = :at", at=nearly - clock.RECENT)
    with app.app_context():
        jobs.cancel(first, ada)
    second = submit(app, ada, b"email\n", idempotency_key="one")
    assert (second.replayed, second.job.id == first) == (False, False)
    assert submit(app, ada, b"email\n", idempotency_key="one").job.id == second.job.id
    assert {one.id for one in rows(app, "SELECT id FROM imports")} == {first, second.job.id}


def test_ten_unfinished(app: Flask, ada: Actor, tmp_path: Path) -> None:
    """The eleventh is refused, before it is read if it has no Idempotency-Key; a repetition is not."""
    ids = [upload(app, ada, idempotency_key=f"key-{number}").id for number in range(10)]
    stream = Endless()
    given: Any = {"name": None, "options": Options(), "start": "never", "actor": ada}
    with app.app_context(), pytest.raises(TooManyImports):
        jobs.submit(stream, idempotency_key=None, **given)
    assert stream.count == 0
    with pytest.raises(TooManyImports):
        upload(app, ada, idempotency_key="another")
    assert upload(app, ada, idempotency_key="key-3").id == ids[3]
    with app.app_context():
        jobs.cancel(ids[0], ada)
    upload(app, ada)
    assert len(spooled(tmp_path)) == 10


def test_who_knows_of_it(app: Flask, ada: Actor, limited: Actor) -> None:
    """The uploader, and who holds all that the uploader held."""
    by_ada, by_limited = upload(app, ada), upload(app, limited)
    with app.app_context():
        assert [job.id for job in jobs.newest(ada, before=None, limit=9)] == [by_limited.id, by_ada.id]
        assert [job.id for job in jobs.newest(ada, before=by_limited.id, limit=9)] == [by_ada.id]
        assert [job.id for job in jobs.newest(ada, before=None, limit=1)] == [by_limited.id]
        assert [job.id for job in jobs.newest(limited, before=None, limit=9)] == [by_limited.id]
        for act in (jobs.find, jobs.start, jobs.cancel):
            with pytest.raises(ImportNotFound):
                act(by_ada.id, limited)
        for unknown in ("imp_" + "0" * 32, "x\0"):
            with pytest.raises(ImportNotFound):
                jobs.find(unknown, ada)
        with pytest.raises(ImportNotFound):
            jobs.rejects_file(by_ada, limited)


def test_other_session_of_the_uploader(app: Flask, cast: Cast, ada: Actor) -> None:
    """A demoted uploader still sees the own import at the pages, and a weak key of theirs does not."""
    session = replace(ada, kind=ActorKind.SESSION, key_id=None)
    execute(app, "DELETE FROM imports")
    with app.app_context():
        job = Import(id="imp_" + "1" * 32, permissions=sorted(Permission), actor_kind="session", actor_key_id=None)
        job.actor_user_id = cast.ada.id
        fewer = session.with_permissions(frozenset({Permission.USERS_IMPORT}))
        assert jobs._may_see(job, fewer)
        assert not jobs._may_see(job, replace(fewer, kind=ActorKind.KEY, key_id="akid_" + "1" * 32))


def test_start(app: Flask, ada: Actor, limited: Actor) -> None:
    """An import starts once it is checked, and once. Who starts it is noted, unless it is the uploader."""
    job, other = upload(app, limited), upload(app, ada)
    with app.app_context():
        with pytest.raises(ImportState) as raised:
            jobs.start(job.id, ada)
        assert raised.value.details == {"state": "checking"}
        for one in (job, other):
            set_state(app, one, "checked")
        started = jobs.start(job.id, ada, skip_existing=True)
        assert (started.state, started.options["skip_existing"]) == ("waiting", True)
        assert started.started_by == {
            "kind": "key",
            "user_id": ada.user_id,
            "key_id": ada.key_id,
            "permissions": sorted(Permission),
        }
        assert jobs.start(other.id, ada).started_by is None
        with pytest.raises(ImportState):
            jobs.start(job.id, ada)


def test_columns(app: Flask, ada: Actor) -> None:
    job = upload(app, ada, options=Options(no_password=True))
    set_state(app, job, "columns")
    with app.app_context():
        told = jobs.set_columns(job.id, ada, mapped={"Mail": "email"}, ignored=["Phone"])
        assert told.state == "checking"
        assert Options.from_json(jobs.find(job.id, ada).options) == Options(
            no_password=True, mapped={"Mail": "email"}, ignored=("Phone",)
        )


def test_cancel(app: Flask, ada: Actor, tmp_path: Path) -> None:
    """Its file is gone, its worker has lost the lease, and it has ended for good."""
    job = upload(app, ada)
    execute(app, "UPDATE imports SET holder = 'host 1 x', lease_until = created_at")
    with app.app_context():
        cancelled = jobs.cancel(job.id, ada)
        assert (cancelled.state, cancelled.holder, spooled(tmp_path)) == ("cancelled", None, [])
        for act in (jobs.cancel, jobs.start):
            with pytest.raises(ImportState):
                act(job.id, ada)


@pytest.mark.one_database
def test_permission_taken_away_meanwhile(app: Flask, ada: Actor) -> None:
    job = upload(app, ada)
    execute(app, "UPDATE users SET global_role_id = 'role_operator' WHERE email = 'ada@example.com'")
    with app.app_context(), pytest.raises(Denied):
        jobs.cancel(job.id, ada)


@pytest.mark.one_database
def test_file_on_another_host(app: Flask, ada: Actor, tmp_path: Path) -> None:
    """There it can be seen and cancelled, and not be started."""
    job = upload(app, ada)
    set_state(app, job, "checked")
    (tmp_path / "imports" / "machine").write_text("another\n")
    with app.app_context():
        with pytest.raises(ImportElsewhere):
            jobs.start(job.id, ada)
        with pytest.raises(ImportElsewhere):
            jobs.rejects_file(job, ada)
        jobs.cancel(job.id, ada)


@pytest.mark.one_database
def test_rejects(app: Flask, ada: Actor) -> None:
    job = upload(app, ada)
    with app.app_context():
        with pytest.raises(ImportNotFound):
            jobs.rejects_file(job, ada)
        spool.path(job.id, "rejects").write_bytes(b"email\n")
        assert jobs.rejects_file(job, ada).read_bytes() == b"email\n"
        job.actor_kind = ActorKind.TERMINAL
        with pytest.raises(ImportNotFound):
            jobs.rejects_file(job, terminal("req_12345678"))
