"""An export: its bytes, its audit event, and that it is whole or not there."""

import csv
import gc
import io
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from support.databases import execute, rows
from support.people import Cast, as_actor, make_user
from users import settings
from users.actors import terminal
from users.bulk import export
from users.bulk.export import COLUMNS, HASH, Wanted
from users.errors import ApiKeyDeactivated, Denied, Unavailable
from users.roles import Permission
from users.services.lists import walk
from users.services.lists.asked import Asked

TERMINAL = terminal("req_test00000000")
AUDIT = "SELECT fields, actor_kind, target_id, outcome FROM audit_events WHERE action = 'user.export'"


def exported(app: Flask, wanted: Wanted) -> bytes:
    """Return the bytes of the operator's export."""
    with app.app_context():
        made = export.spool(wanted, actor=TERMINAL)
    with made.file:
        found = made.file.read()
    assert len(found) == made.size
    return found


def test_csv(app: Flask, cast: Cast) -> None:
    """Who is not deleted, oldest first; an empty cell is what is absent."""
    execute(app, "UPDATE users SET deleted_at = updated_at WHERE id = :id", id=cast.vera.id)
    found = exported(app, Wanted()).decode()
    head, *lines = found.split("\r\n")
    assert head == ",".join(COLUMNS)
    assert lines.pop() == ""
    ada, omar, sam = csv.DictReader(io.StringIO(found))
    assert [one["id"] for one in (ada, omar, sam)] == [cast.ada.id, cast.omar.id, cast.sam.id]
    assert ada == {name: _cell(value) for name, value in cast.ada.as_profile().items() if name != "full_name"}


def _cell(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def test_json_lines(app: Flask, cast: Cast) -> None:
    found = exported(app, Wanted(form="jsonl")).decode()
    assert found.endswith("}\n")
    first = json.loads(found.splitlines()[0])
    assert list(first) == list(COLUMNS)
    assert first == {name: value for name, value in cast.ada.as_profile().items() if name != "full_name"}


@pytest.mark.one_database
def test_formulas_and_excel(app: Flask) -> None:
    """A cell that a spreadsheet would run is marked; the byte order mark is Excel's, and CSV's alone."""
    make_user(app, "jo@example.com", first_name='=1+1,"x"')
    found = exported(app, Wanted(excel=True))
    assert found.startswith(b"\xef\xbb\xbfid,")
    assert b'jo@example.com,"\'=1+1,""x""",' in found
    assert exported(app, Wanted(form="jsonl", excel=True)).startswith(b"{")


def test_hashes(app: Flask, cast: Cast) -> None:
    """As they are stored: an import takes them again. Who has no password has an empty cell."""
    execute(app, "UPDATE users SET password_hash = '' WHERE id = :id", id=cast.sam.id)
    found = csv.DictReader(io.StringIO(exported(app, Wanted(with_hashes=True)).decode()))
    stored = dict(rows(app, "SELECT id, password_hash FROM users"))
    assert {one["id"]: one[HASH] for one in found} == stored
    assert stored[cast.sam.id] == ""
    assert HASH not in exported(app, Wanted()).decode()


@pytest.mark.one_database
def test_audit_event(app: Flask, cast: Cast) -> None:
    """One for each export, with its columns, and before its first byte."""
    with app.app_context():
        pieces: list[int] = []
        wanted = Wanted(with_hashes=True)
        users = export.write_to(lambda _: pieces.append(len(rows(app, AUDIT))), wanted, actor=TERMINAL)
    assert users == 4
    assert set(pieces) == {1}
    ((fields, kind, target, outcome),) = rows(app, AUDIT)
    columns = json.loads(fields) if isinstance(fields, str) else fields
    assert (columns, kind, target, outcome) == ([*COLUMNS, HASH], "terminal", None, "ok")


@pytest.mark.one_database
def test_permissions(app: Flask, cast: Cast) -> None:
    """Reading users is enough, but for the hashes; who may not leaves nothing."""
    auditor = as_actor(app, cast.vera)
    with app.app_context():
        assert export.write_to(lambda _: None, Wanted(), actor=auditor) == 4
        written: list[bytes] = []
        with pytest.raises(Denied) as refused:
            export.write_to(written.append, Wanted(with_hashes=True), actor=auditor)
    assert refused.value.missing == Permission.HASHES_READ
    assert written == []
    assert len(rows(app, AUDIT)) == 1


@contextmanager
def pages_of_one(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let each page have one user."""
    monkeypatch.setattr(walk, "PAGE_SIZE", 1)
    walk._next.cache_clear()
    with app.app_context():
        yield
    walk._next.cache_clear()


@pytest.mark.one_database
def test_key_is_revoked_midway(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is looked at again after each page."""
    actor, written = as_actor(app, cast.ada), list[bytes]()

    def revoke(some: bytes) -> None:
        written.append(some)
        if len(written) == 3:
            execute(app, "UPDATE api_keys SET deactivated_at = created_at WHERE id = :id", id=actor.key_id)

    with pages_of_one(app, monkeypatch), pytest.raises(ApiKeyDeactivated):
        export.write_to(revoke, Wanted(), actor=actor)
    assert len(written) == 3


@pytest.mark.one_database
def test_database_is_lost_midway(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no export then, and no file of one."""
    read = walk._read
    calls = []

    def lose(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 3:
            raise Unavailable("it is gone")
        return read(*arguments)

    monkeypatch.setattr(walk, "_read", lose)
    monkeypatch.setattr(export, "MEMORY_BYTES", 10)
    with pages_of_one(app, monkeypatch):
        there = set(os.listdir("/proc/self/fd"))
        with pytest.raises(Unavailable):
            export.spool(Wanted(), actor=TERMINAL)
        assert list(settings.current().spool_folder.iterdir()) == []
        assert set(os.listdir("/proc/self/fd")) <= there


@pytest.mark.one_database
def test_long_export_is_a_file_without_a_name(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    short = exported(app, Wanted())
    monkeypatch.setattr(export, "MEMORY_BYTES", 10)
    with app.app_context():
        made = export.spool(Wanted(), actor=TERMINAL)
        with made.file:
            assert os.fstat(made.file.fileno()).st_mode & 0o777 == 0o600
            assert list(settings.current().spool_folder.iterdir()) == []
            assert made.file.read() == short


@pytest.mark.one_database
def test_disk_is_full(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "imports").write_text("")  # a file, where the folder should be
    with app.app_context(), pytest.raises(Unavailable) as refused:
        export.spool(Wanted(), actor=TERMINAL)
    assert "cannot be written (File exists)" in refused.value.hint


@pytest.mark.one_database
def test_at_once(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one is refused while so many are being made, and taken when one of them has ended."""
    monkeypatch.setattr(export, "_making", threading.BoundedSemaphore(1))
    refused = []

    def ask(*_arguments: Any) -> Any:
        with pytest.raises(export.TooManyExports):
            export.spool(Wanted(), actor=TERMINAL)
        refused.append(True)
        return []

    with app.app_context(), monkeypatch.context() as patch:
        patch.setattr(walk, "_read", ask)
        export.spool(Wanted(), actor=TERMINAL).file.close()
    assert refused == [True]
    assert len(exported(app, Wanted()).splitlines()) == 5


@pytest.mark.one_database
def test_nobody(app: Flask, cast: Cast) -> None:
    assert exported(app, Wanted(matches_none=True)).decode() == ",".join(COLUMNS) + "\r\n"
    assert exported(app, Wanted(Asked(shown="deactivated"), form="jsonl")) == b""


@pytest.mark.one_database
def test_files_that_are_not_read_to_their_end_are_counted(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes a place on the disk until it is closed, or forgotten. One in memory takes none."""
    monkeypatch.setattr(export, "_held", threading.BoundedSemaphore(1))
    with app.app_context():
        in_memory = [export.spool(Wanted(), actor=TERMINAL) for _ in range(3)]
        monkeypatch.setattr(export, "MEMORY_BYTES", 10)
        first = export.spool(Wanted(), actor=TERMINAL)
        with pytest.raises(export.TooManyExports):
            export.spool(Wanted(), actor=TERMINAL)
        for one in (*in_memory, first, first):
            one.close()
        assert first.file.closed
        second = export.spool(Wanted(), actor=TERMINAL)
        with pytest.raises(export.TooManyExports):
            export.spool(Wanted(), actor=TERMINAL)
        second.file.close()
        del second
        gc.collect()
        export.spool(Wanted(), actor=TERMINAL).close()
        stranger = replace(TERMINAL, permissions=frozenset())
        with pytest.raises(Denied):
            export.spool(Wanted(), actor=stranger)
        export.spool(Wanted(), actor=TERMINAL).close()
