"""Pruning the audit trail: events are exported, forced to disk, and only then deleted; all others stay."""

import json
import os
import signal
import stat
import subprocess
import threading
import time
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.exc import IntegrityError

from support.application import CHEAP, dispose
from support.databases import execute, rows
from support.people import Cast
from support.pruned_events import ACTOR, DAYS, ids_in, many, old, prune, prunes, there
from support.servers import BIN, REPOSITORY
from support.visitors import signed_in
from users import clock, ids
from users.audit import queries
from users.errors import Denied
from users.roles import Role
from users.services import audit_prune, user_purge


def test_old_events_go_to_the_file(app: Flask, cast: Cast, file: Path) -> None:
    kept = there(app)
    gone, young = old(app, 3), old(app, 2, days=364)
    with app.app_context():
        exported = [queries.line(event) for event in queries.export()][:3]
    assert prune(app, file) == 3
    assert there(app) == [*young, *kept]
    assert file.read_text() == "".join(exported)
    assert ids_in(file) == gone
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_event_of_the_prune(app: Flask, file: Path) -> None:
    """The prune's event allows no delete of younger events."""
    old(app, 3)
    (young,) = old(app, 1, days=364)
    moment = clock.now() - 365 * DAYS
    assert prune(app, file) == 3
    (event,) = prunes(app)
    assert (event.actor_kind, event.outcome, event.request_id) == ("terminal", "ok", ACTOR.request_id)
    assert ids.is_event_id(event.target_id)
    assert moment - timedelta(seconds=1) < ids.moment_of(event.target_id) < moment + timedelta(seconds=10)
    for one in (young, event.id):
        with pytest.raises(IntegrityError, match="append-only"):
            execute(app, "DELETE FROM audit_events WHERE id = :id", id=one)


def test_nothing_to_prune(app: Flask, cast: Cast, file: Path) -> None:
    before = there(app)
    assert prune(app, file) == 0
    assert (there(app), prunes(app), file.read_text()) == (before, [], "")


def test_prune_after_a_year(app: Flask, file: Path, tmp_path: Path) -> None:
    old(app, 2)
    assert prune(app, file) == 2
    young = clock.now
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "now", lambda: young() + 366 * DAYS)
        assert prune(app, tmp_path / "next.jsonl") == 1
    assert json.loads((tmp_path / "next.jsonl").read_text())["action"] == "audit.prune"
    assert len(prunes(app)) == 1


def test_batches(app: Flask, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_prune, "BATCH_SIZE", 3)
    gone = old(app, 10)
    deleted: list[int] = []
    delete = audit_prune._delete

    def note(session: Any, event_ids: Any) -> int:
        deleted.append(delete(session, event_ids))
        return deleted[-1]

    monkeypatch.setattr(audit_prune, "_delete", note)
    assert prune(app, file) == 10
    assert deleted == [3, 3, 3, 1]
    assert ids_in(file) == gone
    assert len(prunes(app)) == 1


def test_file_is_on_disk_first(app: Flask, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = old(app, 5)
    seen: list[tuple[bool, int, int]] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        seen.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), len(ids_in(file)), len(there(app))))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    assert prune(app, file) == len(gone)
    assert seen == [(False, 5, 5), (True, 5, 5)]


def test_events_after_the_export(app: Flask, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Postgres a transaction may commit after its ids were made, and the clock of another machine may be behind."""
    old(app, 5)
    export = audit_prune._export
    late: list[str] = []

    def then_comes_one(*given: Any) -> None:
        export(*given)
        late.extend(old(app, 1, days=399))

    monkeypatch.setattr(audit_prune, "_export", then_comes_one)
    assert prune(app, file) == 5
    assert there(app) == late
    assert late[0] not in ids_in(file)


@pytest.mark.parametrize("name", ["fsync", "line"])
def test_file_cannot_be_written(app: Flask, file: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    gone = old(app, 5)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if name == "fsync" else (queries, "line")), fail)
    with pytest.raises(OSError, match="No space left"):
        prune(app, file)
    assert (there(app), prunes(app)) == (gone, [])
    assert not file.exists(), "what is not whole is no export"


def test_needs_an_administrator(app: Flask, file: Path) -> None:
    gone = old(app, 2)
    for role in (Role.AUDITOR, Role.OPERATOR):
        with app.app_context(), pytest.raises(Denied):
            audit_prune.prune_events(clock.now(), file, actor=replace(ACTOR, permissions=role.permissions))
    assert there(app) == gone
    assert not file.exists()


def test_killed_prune(app: Flask, file: Path, tmp_path: Path) -> None:
    made = many(app, 10_000)
    dispose(app)
    settings = {**os.environ, **CHEAP, "DATABASE_URL": app.config["SQLALCHEMY_DATABASE_URI"]}
    command = [str(BIN / "flask"), "audit", "prune", "--before", "365d", "--export", str(file), "--yes"]
    process = subprocess.Popen(command, cwd=REPOSITORY, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    count = "SELECT count(*) FROM audit_events WHERE action != 'audit.prune'"
    while rows(app, count) == [(len(made),)] and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    left = there(app)
    assert 0 < len(left) < len(made), "it was killed in the middle"
    assert ids_in(file) == made
    assert len(prunes(app)) == 1
    rest = tmp_path / "rest.jsonl"
    assert prune(app, rest) == len(left)
    assert ids_in(rest) == left
    assert (there(app), len(prunes(app))) == ([], 2)


def test_purge_meanwhile(app: Flask, cast: Cast, file: Path) -> None:
    made = many(app, 5000, user_id=cast.sam.id)
    execute(app, "UPDATE users SET deleted_at = :at WHERE id = :id", at=clock.now() - 40 * DAYS, id=cast.sam.id)
    together, purged = threading.Barrier(2), []

    def purge() -> None:
        together.wait()
        with app.app_context():
            purged.append(user_purge.purge_users(clock.now() - 30 * DAYS, actor=ACTOR))

    thread = threading.Thread(target=purge)
    thread.start()
    together.wait()
    assert prune(app, file) == len(made)
    thread.join()
    assert purged == [1]
    assert rows(app, "SELECT 1 FROM users WHERE id = :id", id=cast.sam.id) == []
    assert len(there(app)) == 5  # the events of the cast and of the purge


def test_parallel_prunes(app: Flask, tmp_path: Path) -> None:
    made = many(app, 3000)
    files = [tmp_path / f"{number}.jsonl" for number in range(2)]
    found: list[int] = []
    threads = [threading.Thread(target=lambda file=file: found.append(prune(app, file))) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(found) == len(made)
    assert {one for file in files for one in ids_in(file)} == set(made)
    assert there(app) == []


def test_audit_page(app: Flask, cast: Cast, file: Path) -> None:
    old(app, 3)
    assert prune(app, file) == 3
    day = clock.date(ids.moment_of(prunes(app)[0].target_id))
    page = signed_in(app, cast.ada).get("/admin/audit?action=audit.prune").text
    assert f"The command line pruned the audit trail: events before {day}" in page
    assert '<option selected value="audit.prune">Audit trail pruned</option>' in page


def test_day_in_utc() -> None:
    moment = ids.moment_of(ids.first("evt", clock.now().replace(year=2025, month=11, day=30, microsecond=7000)))
    assert (moment.year, moment.month, moment.day, moment.microsecond, moment.tzinfo) == (2025, 11, 30, 7000, UTC)
    assert clock.date(moment) == "30 Nov 2025"
