"""What is erased cannot be read any more: not in the bytes of a SQLite file, not in its -wal; copies are named."""

import random
import re
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner
from sqlalchemy import event

from support.application import app_on
from support.command_line import run
from support.databases import execute, rows
from support.installations import Installation, installed
from support.people import Cast, make_key
from users import clock, ids
from users.actors import Actor, ActorKind
from users.audit import trail
from users.audit.trail import Action
from users.auth import sessions
from users.auth.sessions import Place
from users.roles import Permission
from users.services import idempotency
from users.storage import database, sqlite
from users.storage.models import IdempotencyRecord, User, db

PURGE = ("users", "purge", "--deleted-before", "30d", "--yes")
REMAINS = (
    "Error: Remains of the erased may still be in the database file or its -wal: another program kept it busy, "
    "or the disk has no room to write it anew. Run this command again.\n"
)
sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def on_disk(file: Path) -> bytes:
    """Return all bytes of the database and its write-ahead log."""
    log = file.with_name(f"{file.name}-wal")
    return file.read_bytes() + (log.read_bytes() if log.exists() else b"")


def file_of(app: Flask) -> Path:
    """Return where the SQLite database lies."""
    with app.app_context():
        file = database.sqlite_file()
    assert file
    return file


def delete(app: Flask, user_ids: Sequence[str]) -> None:
    """Delete the users, softly, long ago."""
    named = ", ".join(f"'{user_id}'" for user_id in user_ids)
    at = clock.now() - timedelta(days=40)
    execute(app, f"UPDATE users SET is_active = false, deleted_at = :at WHERE id IN ({named})", at=at)


class People:
    """Users who come, change and go; each value of theirs holds a mark that is found again in the file's bytes."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.random = random.Random(1)  # noqa: S311  (no secret)
        self.marks: dict[str, list[str]] = {}

    def _mark(self) -> str:
        return f"{self.random.getrandbits(64):016x}"

    def _padding(self) -> str:
        return "x" * self.random.choice([0, 5, 20, 100, 230])  # rows of many sizes move most

    def come(self, number: int) -> None:
        """Create so many: their rows, as the service writes them, with a kept answer and an act from an address.

        Half of them were invited: their answer holds the end of a link. All are signed in.
        """
        now = clock.now()
        with self.app.app_context(), database.transaction() as session:
            for n in range(number):
                user_id, mark = ids.new_id("usr"), self._mark()
                self.marks[user_id] = [mark]
                email = f"{mark}@{mark}.example.com"
                names = {"first_name": mark + self._padding(), "last_name": mark}
                user = User(id=user_id, email=email, email_key=email, password_hash=mark, is_active=True, **names)
                user.created_at = user.updated_at = now
                session.add(user)
                user.password_link_ends_at = now if n % 2 else None
                answer = {"fingerprint": b"", "answer": idempotency._to_keep(user), "created_at": now}
                session.add(IdempotencyRecord(api_key_id="akid_1", idempotency_key=self._mark(), **answer))
                theirs = Actor(kind=ActorKind.SESSION, permissions=frozenset(), user_id=user_id, ip_address=mark)
                trail.record(session, Action.USER_CREATE, user_id, theirs, now, ["email"])
                here = Place(ip_address=mark, browser=f"{mark} on {mark}")
                sessions.start(session, user, now, here, has_factor=False, awaits_factor=False)

    def change(self, number: int) -> None:
        """Give so many of them another email address and other names."""
        with self.app.app_context(), database.transaction() as session:
            for user_id in self.random.sample(list(self.marks), number):
                user, mark = session.get_one(User, user_id), self._mark()
                self.marks[user_id].append(mark)
                user.email = user.email_key = f"{mark}@{mark}.example.com"
                user.first_name, user.last_name = mark + self._padding(), mark

    def go(self, number: int) -> list[list[str]]:
        """Delete so many of them; return their marks, the present one last."""
        gone = self.random.sample(list(self.marks), number)
        delete(self.app, gone)
        return [self.marks.pop(user_id) for user_id in gone]


def marks_in(file: Path) -> set[str]:
    """Return whatever looks like a mark in the bytes of the database."""
    return {mark.decode() for mark in re.findall(rb"(?=([0-9a-f]{16}))", on_disk(file))}


@sqlite_only
def test_file_holds_no_remains(app: Flask, runner: FlaskCliRunner) -> None:
    """Nothing of a purged user can be read in the database file."""
    people = People(app)
    for _ in range(25):
        people.come(40)
        people.change(25)
    gone = people.go(325)
    assert {marks[-1] for marks in gone} <= marks_in(file_of(app))
    assert run(runner, *PURGE).stdout == "325\n"
    left = marks_in(file_of(app))
    assert {mark for marks in gone for mark in marks} & left == set()
    assert {marks[-1] for marks in people.marks.values()} <= left


@sqlite_only
def test_secure_delete(app: Flask) -> None:
    """Deleted data is overwritten, whatever SQLite's build does by default."""

    def unbuilt(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA secure_delete = OFF")

    with app.app_context():
        db.engine.dispose()
        event.listen(db.engine, "connect", unbuilt, insert=True)
        with db.engine.connect() as one, db.engine.connect() as other:
            assert [each.exec_driver_sql("PRAGMA secure_delete").scalar() for each in (one, other)] == [1, 1]


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Installation]:
    """A copy of the application with a new instance folder; its servers are ended with the test."""
    with installed(tmp_path / "enrol") as made:
        yield made


def test_purge_beside_a_server(here: Installation) -> None:
    """A purge leaves nothing in the files while a server goes on using them."""
    (server,) = here.start("granian")
    with app_on(here) as app:
        key, file = make_key(app, Permission.USERS_CREATE), file_of(app)

        def create(number: int) -> int:
            names = {"email": f"canary{number}q@example.com", "first_name": f"Canary{number}q"}
            body = {**names, "password": "correct horse"}
            headers = {"Idempotency-Key": f"{number}"}
            return server.call("POST", "/v1/user/", key=key, body=body, headers=headers).status

        assert {create(number) for number in range(300)} == {201}
        gone = rows(app, "SELECT * FROM users ORDER BY id")[100:200]
        make_key(app, Permission.USERS_READ, owner=User(id=gone[0].id), name="key of the canary")
        delete(app, [user.id for user in gone])
        statuses: list[int] = []
        done = threading.Event()

        def go_on() -> None:
            while not done.is_set():
                statuses.append(create(1000 + len(statuses)))

        busy = threading.Thread(target=go_on)
        busy.start()
        ended = here.flask(*PURGE)
        done.set()
        busy.join()
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "100\n", "Users erased for good:\n")
        assert set(statuses) == {201}
        left = on_disk(file)
        assert {int(number) for number in re.findall(rb"(?i)canary(\d+)q", left)} & set(range(100, 200)) == set()
        assert not [user.id for user in gone if user.password_hash.encode() in left]
        assert b"key of the canary" not in left
        assert b"canary99q@example.com" in left
        assert b"canary200q@example.com" in left
        assert create(5000) == 201
    assert "unexpected_error" not in server.log()


@contextmanager
def held(app: Flask, begin: str) -> Iterator[sqlite3.Connection]:
    """Be in a transaction of another program, that reads or that writes."""
    with closing(sqlite3.connect(file_of(app), isolation_level=None, check_same_thread=False)) as other:
        other.execute(begin)
        other.execute("SELECT * FROM users").fetchall()
        yield other


@sqlite_only
@pytest.mark.parametrize("begin", ["BEGIN", "BEGIN IMMEDIATE"], ids=["reader", "writer"])
def test_purge_waits_for_a_reader(app: Flask, monkeypatch: pytest.MonkeyPatch, begin: str) -> None:
    """A purge waits a bounded time for another process that reads."""
    monkeypatch.setattr(sqlite, "COMPACT_SECONDS", 0.3)
    with app.app_context():
        with held(app, begin):
            start = time.monotonic()
            assert not database.compact()
            assert 0.3 <= time.monotonic() - start < 2
        assert database.compact()


@sqlite_only
def test_remains_are_reported(app: Flask, runner: FlaskCliRunner, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """A purge that leaves remains says so, and the next one removes them."""
    monkeypatch.setattr(sqlite, "COMPACT_SECONDS", 0.3)
    delete(app, [cast.sam.id])
    with held(app, "BEGIN"):
        ended = run(runner, *PURGE)
    assert (ended.exit_code, ended.stdout, ended.stderr) == (1, "1\n", f"Users erased for good:\n{REMAINS}")
    assert b"sam@example.com" in on_disk(file_of(app))
    again = run(runner, *PURGE)
    assert (again.exit_code, again.stdout, again.stderr) == (0, "0\n", "Users erased for good:\n")
    assert b"sam@example.com" not in on_disk(file_of(app))


@sqlite_only
def test_reader_ends_in_time(app: Flask, runner: FlaskCliRunner, cast: Cast) -> None:
    """A purge is complete when the reader ends in time."""
    delete(app, [cast.sam.id])
    with held(app, "BEGIN") as other:
        timer = threading.Timer(0.5, other.close)
        timer.start()
        assert run(runner, *PURGE).exit_code == 0
        timer.join()
    assert b"sam@example.com" not in on_disk(file_of(app))


@sqlite_only
def test_full_disk(app: Flask, runner: FlaskCliRunner, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is reported, and the write-ahead log is emptied all the same."""
    delete(app, [cast.sam.id])

    def full(driver: sqlite3.Connection, statement: str) -> bool:
        if statement == "VACUUM":
            raise sqlite3.OperationalError("database or disk is full")
        return try_statement(driver, statement)

    try_statement = sqlite._try_statement
    monkeypatch.setattr(sqlite, "_try_statement", full)
    start = time.monotonic()
    ended = run(runner, *PURGE)
    assert time.monotonic() - start < 10, "nobody waits for room"
    assert (ended.exit_code, ended.stdout, ended.stderr) == (1, "1\n", f"Users erased for good:\n{REMAINS}")
    assert file_of(app).with_name("enrol.db-wal").stat().st_size == 0


@sqlite_only
def test_copies_are_named(app: Flask, runner: FlaskCliRunner, cast: Cast) -> None:
    """A purge names the copies of the database that still hold the user."""
    file = file_of(app)
    copies = {name: file.with_name(f"enrol.db.before-{name}") for name in ("0002", "0003", "0004", "0005")}
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("VACUUM INTO ?", [str(copies["0003"])])
    delete(app, [cast.sam.id])
    assert run(runner, *PURGE).stdout == "1\n"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("VACUUM INTO ?", [str(copies["0002"])])
    copies["0004"].write_text("no database")
    with closing(sqlite3.connect(copies["0005"])) as connection:
        connection.execute("CREATE TABLE notes (words TEXT)")
    told = run(runner, *PURGE)
    assert (told.exit_code, told.stdout) == (0, "0\n")
    assert told.stderr.splitlines()[1:] == [
        f"Erased users are still in this copy, made before an upgrade. Delete it: {copies[name]}"
        for name in ("0003", "0004")
    ]
    assert not list(file.parent.glob("*before*-wal"))


def test_known_networks(app: Flask, runner: FlaskCliRunner, cast: Cast) -> None:
    """A user with known networks can be purged."""
    insert = "INSERT INTO known_networks (user_id, network, last_used_at) VALUES (:id, :network, :at)"
    for user in (cast.sam, cast.vera):
        execute(app, insert, id=user.id, network=b"1", at=clock.now())
    delete(app, [cast.sam.id])
    assert run(runner, *PURGE).stdout == "1\n"
    assert [row.user_id for row in rows(app, "SELECT user_id FROM known_networks")] == [cast.vera.id]
