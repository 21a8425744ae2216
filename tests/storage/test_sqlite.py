"""SQLite: writers that wait for the lock, and the file on disk."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import Connection, text

from app import create_app
from support.application import CHEAP, dispose, migrate
from support.databases import rows
from support.people import make_user
from users.actors import terminal
from users.errors import Unavailable
from users.services import user_changes, user_queries
from users.services.lists import user_search
from users.services.lists.asked import Asked
from users.storage import database
from users.storage.models import User, db


def _deactivate(app: Flask, user: User) -> bool:
    with app.app_context():
        return user_changes.deactivate_user(user.id, actor=terminal("req_test00000000")).is_active


@contextmanager
def _sqlite_locked(app: Flask) -> Iterator[None]:
    with app.app_context(), closing(sqlite3.connect(str(database.sqlite_file()))) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("settings", [{"ENROL_DATABASE_POOL": "4"}])
def test_waiting_writers_hold_no_connections(app: Flask) -> None:
    users = [make_user(app, f"jo{number}@example.com") for number in range(8)]
    with ThreadPoolExecutor(len(users)) as pool:
        with _sqlite_locked(app):
            waiting = [pool.submit(_deactivate, app, user) for user in users]
            time.sleep(0.2)
            start = time.monotonic()
            assert user_queries.get_user(users[0].id).is_active
            assert time.monotonic() - start < 2
        assert [one.result() for one in waiting] == [False] * len(users)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_waiting_writers_give_up(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers give up when their time is used up."""
    users = [make_user(app, f"jo{number}@example.com") for number in range(3)]
    monkeypatch.setattr(database, "BUDGET_SECONDS", 0.5)

    def give_up(user: User) -> float:
        start = time.monotonic()
        with pytest.raises(Unavailable):
            _deactivate(app, user)
        return time.monotonic() - start

    with _sqlite_locked(app), ThreadPoolExecutor(len(users)) as pool:
        took = list(pool.map(give_up, users))
    assert min(took) > 0.4
    assert max(took) < 2
    assert [_deactivate(app, user) for user in users] == [False] * len(users)  # the lock is free again


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_read_only_sqlite_file(app: Flask) -> None:
    """A write to a file that cannot be written fails at once."""
    with app.app_context(), db.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only = ON")  # the pool returns this connection next
    start = time.monotonic()
    with app.app_context(), pytest.raises(Unavailable), database.transaction():
        pass
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_other_process_closes_sqlite(app: Flask, tmp_path: Path) -> None:
    """The last process to close SQLite removes the write-ahead log, so it must see the locks of all our connections."""
    path = tmp_path / "enrol.db"
    with app.app_context(), db.engine.connect() as first, db.engine.connect() as second:
        for connection in (first, second):  # two connections of the pool, open to the end
            connection.exec_driver_sql("SELECT 1 FROM users")
        first.commit()
        make_user(app, "jo@example.com")
        log = path.with_name("enrol.db-wal")
        before = log.stat().st_ino
        line = f"import sqlite3; c = sqlite3.connect({str(path)!r}); c.execute('SELECT * FROM users'); c.close()"
        subprocess.run([sys.executable, "-c", line], check=True)
        assert log.stat().st_ino == before
    assert rows(app, "SELECT email FROM users") == [("jo@example.com",)]


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_file_in_utf16(tmp_path: Path, encoding: str) -> None:
    """Names and searches are right in a file that another program made."""
    path = tmp_path / "enrol.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA encoding = '{encoding}'")
        connection.executescript("CREATE TABLE one (two); DROP TABLE one")  # writes the file
    migrate(f"sqlite:///{path}")
    app = create_app({**CHEAP, "DATABASE_URL": f"sqlite:///{path}"})
    users = [make_user(app, f"jo{number}@example.com", first_name=name) for number, name in enumerate("ДяÿԀ字")]
    with app.app_context():
        page = user_search.find(Asked(text="jo")).page
        assert {user.id for user in page.rows} == {user.id for user in users}
        for user in users:
            (found,) = user_search.find(Asked(text=str(user.first_name))).page.rows
            assert (found.id, found.first_name) == (user.id, user.first_name)
        assert db.session.scalar(text("PRAGMA encoding")) == encoding
    dispose(app)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_writes_in_bulk(app: Flask) -> None:
    """They leave the copying of the write-ahead log to `checkpoint`, and the connection copies it again for others."""

    def pages_per_checkpoint(connection: Connection) -> int:
        return int(connection.exec_driver_sql("PRAGMA wal_autocheckpoint").scalar_one())

    with app.app_context():
        file = database.sqlite_file()
        assert file
        with database.writing() as connection:
            connection.exec_driver_sql("CREATE TABLE filling (content TEXT)")
        before = file.stat().st_size
        for _ in range(30):
            with database.writing(bulk=True) as connection:
                assert pages_per_checkpoint(connection) == 0
                connection.exec_driver_sql("INSERT INTO filling VALUES (?)", ("x" * 200_000,))
        assert file.stat().st_size == before
        database.checkpoint()
        assert file.stat().st_size > before + 30 * 200_000
        with database.writing() as connection:
            assert pages_per_checkpoint(connection) == 1000
        with pytest.raises(ZeroDivisionError), database.writing(bulk=True):
            raise ZeroDivisionError
        with database.writing() as connection:
            assert pages_per_checkpoint(connection) == 1000
