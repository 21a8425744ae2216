"""Both databases: durable commits, waits that end in time, and upgrades of the schema."""

import math
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask, g
from sqlalchemy import bindparam, text
from sqlalchemy.exc import DBAPIError

from app import create_app
from support.api import Api
from support.application import CHEAP, dispose, migrate
from support.databases import execute, rows
from support.installations import Installation, installed
from support.people import make_key, make_user
from support.postgres import own_postgres
from support.postgres_wire import Wire
from support.servers import BIN
from users import clock
from users.actors import terminal
from users.errors import Unavailable, UserNotFound
from users.roles import Permission
from users.services import user_changes, user_queries, user_search
from users.storage import database, postgres, schema_version, upgrade
from users.storage.columns import UtcDateTime
from users.storage.models import User, db


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Installation]:
    """A copy of the application with a new instance folder; its servers are ended with the test."""
    with installed(tmp_path / "enrol") as made:
        yield made


def _email() -> str:
    return f"{uuid.uuid4().hex}@example.com"


def _exists(api: Api, email: str) -> bool:
    app = api.client.application
    users = rows(app, "SELECT id FROM users WHERE email = :email", email=email)
    events = rows(app, "SELECT id FROM audit_events WHERE target_id = :id", id=users[0][0]) if users else []
    assert len(users) == len(events)  # an act and its audit event are written together or not at all
    return bool(users)


@pytest.mark.parametrize(("at_commit", "written"), [("lose", False), ("lose answer", True), ("hold", False)])
def test_connection_lost_during_commit(wire: Wire, wired_api: Api, at_commit: str, written: bool) -> None:
    """The response says that the outcome is unknown."""
    email = _email()
    assert wired_api.create(email=_email()).status_code == 201
    wire.at_commit = at_commit
    start = time.monotonic()
    answer = wired_api.create(email=email)
    assert time.monotonic() - start < 6
    assert (answer.status_code, answer.json["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert answer.json["error"]["details"] == {"outcome": "unknown"}
    assert answer.headers["Retry-After"]
    assert _exists(wired_api, email) is written
    wire.cut()  # if it is held, the transaction is still open in Postgres and has the email
    # In both cases the caller can ask again.
    assert wired_api.create(email=email).status_code == (409 if written else 201)


def test_connections_lost_while_idle(wire: Wire, wired_api: Api) -> None:
    """The caller does not notice them."""
    assert wired_api.create(email=_email()).status_code == 201
    wire.cut()
    assert wired_api.create(email=_email()).status_code == 201


@pytest.mark.parametrize(("idle", "asked"), [(math.inf, 0), (0, 1)], ids=["just used", "idle"])
def test_ping_after_idle_time(wired_api: Api, monkeypatch: pytest.MonkeyPatch, idle: float, asked: int) -> None:
    """Only a connection that was idle is pinged."""
    assert wired_api.create(email=_email()).status_code == 201
    monkeypatch.setattr(postgres, "IDLE_SECONDS", idle)
    with wired_api.client.application.app_context():
        engine = db.engine
        with mock.patch.object(engine.dialect, "do_ping", wraps=engine.dialect.do_ping) as ping:
            engine.connect().close()
    assert ping.call_count == asked


def test_new_connection_is_not_pinged(wired_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The replacement for a lost connection is not pinged."""
    assert wired_api.create(email=_email()).status_code == 201
    monkeypatch.setattr(postgres, "_is_quiet", lambda _connection: False)
    with wired_api.client.application.app_context():
        dialect = db.engine.dialect
    with mock.patch.object(dialect, "do_ping", side_effect=psycopg.OperationalError) as ping:
        assert wired_api.get("/v1/user/me").status_code == 404  # the key has no owner
    assert ping.call_count == 1


def test_closed_connection_is_replaced(wired_api: Api) -> None:
    assert wired_api.create(email=_email()).status_code == 201
    with wired_api.client.application.app_context(), db.engine.connect() as connection:
        closed = connection.connection.dbapi_connection
    assert closed
    closed.close()
    assert wired_api.get("/v1/user/me").status_code == 404  # the key has no owner


def test_connection_lost_before_commit(wire: Wire, wired_api: Api) -> None:
    """The response does not speak of an outcome."""
    assert wired_api.create(email=_email()).status_code == 201
    wire.close()
    answer = wired_api.create(email=_email())
    assert (answer.status_code, answer.json["error"]["details"]) == (503, {})


def test_writers_that_read_first(app: Flask) -> None:
    """Acts that read before they write wait for each other."""
    users = [make_user(app, f"jo{number}@example.com") for number in range(8)]
    together = threading.Barrier(len(users))

    def deactivate(user: User) -> bool:
        together.wait()
        return _deactivate(app, user)

    with ThreadPoolExecutor(len(users)) as pool:
        assert list(pool.map(deactivate, users)) == [False] * len(users)


def _deactivate(app: Flask, user: User) -> bool:
    with app.app_context():
        return user_changes.deactivate_user(user.id, actor=terminal("req_test00000000")).is_active


@contextmanager
def _sqlite_locked(app: Flask) -> Iterator[None]:
    with app.app_context(), closing(sqlite3.connect(str(database.sqlite_file()))) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_waiting_writers_hold_no_connections(app: Flask) -> None:
    users = [make_user(app, f"jo{number}@example.com") for number in range(database.POOL_SIZE + 4)]
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


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_statement_ends_in_postgres(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement that Enrol no longer waits for ends in Postgres too."""
    monkeypatch.setattr(database, "BUDGET_SECONDS", 0.5)
    app = create_app({**CHEAP, "DATABASE_URL": database_url})
    user = make_user(app, "jo@example.com")
    with psycopg.connect(database_url) as other, psycopg.connect(database_url, autocommit=True) as onlooker:
        other.execute("LOCK TABLE users")
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'users'::regclass"
        with pytest.raises(Unavailable):
            _deactivate(app, user)
        limit = time.monotonic() + 2
        while onlooker.execute(waiting).fetchone() != (0,):
            assert time.monotonic() < limit
            time.sleep(0.05)
    assert _deactivate(app, user) is False
    dispose(app)


def test_no_time_left(app: Flask) -> None:
    """A request without time left does not wait for a connection."""
    with app.test_request_context():
        g.database_seconds = -0.1
        with pytest.raises(Unavailable), mock.patch.object(db.engine, "connect") as connect, database.reading():
            pass
    assert not connect.called


def test_lost_connection_hides_no_error(wire: Wire, wired_api: Api) -> None:
    def act() -> None:
        with wired_api.client.application.app_context(), database.transaction() as session:
            session.execute(text("SELECT 1"))
            wire.cut()
            raise UserNotFound

    with pytest.raises(UserNotFound):
        act()


def test_error_in_a_statement(app: Flask) -> None:
    """An error in a statement does not mean that the database is away."""
    with app.app_context(), pytest.raises(DBAPIError), database.reading() as session:
        session.execute(text("SELECT 1 +"))


class Freezer:
    """Freezes a Postgres server of its own, and thaws it."""

    def __init__(self, server: Any) -> None:
        self.address = str(server.get_uri())
        self._first = int(server.get_pid())
        self._stopped: list[int] = []

    def freeze(self) -> None:
        """Freeze all processes of the server, the first one first, since it starts the others."""
        with psycopg.connect(self.address) as connection:
            pids = [pid for (pid,) in connection.execute("SELECT pid FROM pg_stat_activity").fetchall()]
        self._stopped = [self._first, *pids]
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Thaw them."""
        self._signal(signal.SIGCONT)
        self._stopped = []

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._stopped:
            with suppress(ProcessLookupError):  # for example, the connection that asked for the pids has ended
                os.kill(pid, number)


@pytest.fixture
def freezer() -> Iterator[Freezer]:
    """A Postgres server with all tables that only this test uses and can freeze."""
    with own_postgres() as server:
        made = Freezer(server)
        migrate(made.address)
        yield made
        made.thaw()


def test_frozen_postgres(here: Installation, freezer: Freezer) -> None:
    """Requests give up on a frozen Postgres in time, and find it again."""
    here.environment["DATABASE_URL"] = freezer.address
    app = create_app({**CHEAP, "DATABASE_URL": freezer.address})
    key = make_key(app, Permission.USERS_CREATE)
    dispose(app)
    (server,) = here.start("granian")

    def create() -> Any:
        body = {"email": _email(), "password": "correct horse battery"}
        return server.call("POST", "/v1/user/", key=key, body=body)

    assert create().status == 201
    freezer.freeze()
    for _ in range(2):  # over a connection from the pool, then over a new one
        reply = create()
        assert (reply.status, reply.code) == (503, "SERVICE_UNAVAILABLE")
        assert reply.seconds < 6
    health, readiness = (server.call("GET", path) for path in ("/healthz", "/readyz"))
    assert (health.status, health.json) == (200, {"status": "ok"})
    assert (readiness.status, readiness.json["reason"]) == (503, "database")
    assert readiness.seconds < database.BUDGET_SECONDS + 1
    freezer.thaw()
    assert create().status == 201
    assert server.process.poll() is None
    assert server.log().count("Spawning worker") == 1
    assert "unexpected_error" not in server.log()


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without tables, on SQLite and on Postgres."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/enrol.db"
    return str(request.getfixturevalue("empty_postgres"))


def test_head_is_the_newest_migration(app: Flask) -> None:
    assert ScriptDirectory(app.extensions["migrate"].directory).get_heads() == [schema_version.HEAD]


def test_migrations_match_the_models(app: Flask) -> None:
    with app.app_context(), db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, db.metadata) == []


def test_downgrade_and_upgrade(empty_url: str) -> None:
    """A running application notices both."""
    migrate(empty_url)
    app = create_app({**CHEAP, "DATABASE_URL": empty_url})
    api = Api(app.test_client(), make_key(app, Permission.USERS_CREATE))
    assert api.create().status_code == 201
    other = create_app({**CHEAP, "DATABASE_URL": empty_url})
    assert other.test_cli_runner().invoke(args=["db", "downgrade", "base"]).exit_code == 0
    assert api.create().status_code == 503
    assert rows_of_schema(app) == {"alembic_version"}
    assert other.test_cli_runner().invoke(args=["db", "upgrade"]).exit_code == 0
    api.key = make_key(app, Permission.USERS_CREATE)
    assert api.create().status_code == 201
    dispose(app)
    dispose(other)


def rows_of_schema(app: Flask) -> set[str]:
    """Return the names of all tables."""
    with app.app_context():
        return set(db.inspect(db.engine).get_table_names())


def test_upgrades_at_the_same_time(here: Installation, empty_url: str) -> None:
    """They wait for each other."""
    here.environment["DATABASE_URL"] = empty_url
    found = here.run_together([[str(BIN / "flask"), "db", "upgrade"]] * 2)
    assert [process.returncode for process in found] == [0, 0], found
    assert sum(process.stderr.count(f"Database brought to {schema_version.HEAD}.") for process in found) == 1
    app = create_app({**CHEAP, "DATABASE_URL": empty_url})
    assert rows_of_schema(app) == {"alembic_version", *db.metadata.tables}
    dispose(app)


def test_database_with_other_tables(here: Installation, empty_url: str) -> None:
    """It is left as it was."""
    app = create_app({**CHEAP, "DATABASE_URL": empty_url})
    with app.app_context(), db.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE api_keys (whose TEXT)")  # the second table of the migration
    here.environment["DATABASE_URL"] = empty_url
    ended = here.flask("db", "upgrade")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == f"Error: {upgrade.STUCK}"
    assert "Traceback" not in ended.stderr
    assert rows_of_schema(app) - {"alembic_version"} == {"api_keys"}
    dispose(app)


def _file_with_notes(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE notes (words TEXT)")
        connection.execute("INSERT INTO notes VALUES ('kept')")


def test_copy_before_migration(tmp_path: Path) -> None:
    """A SQLite file that holds rows is copied before its migration."""
    path = tmp_path / "enrol.db"
    _file_with_notes(path)
    path.with_name(f"enrol.db.before-{schema_version.HEAD}").write_text("an older copy, of an upgrade that failed")
    migrate(f"sqlite:///{path}")
    copy = path.with_name(f"enrol.db.before-{schema_version.HEAD}")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT words FROM notes").fetchall() == [("kept",)]
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("notes",)]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(schema_version.HEAD,)]
        assert connection.execute("SELECT words FROM notes").fetchall() == [("kept",)]


def test_no_copy_without_need(tmp_path: Path, migrated_sqlite: Path) -> None:
    """A SQLite file that is up to date or empty is not copied."""
    for name in ("new", "up to date"):
        path = tmp_path / f"{name}.db"
        if name == "up to date":
            shutil.copy(migrated_sqlite, path)
            app = create_app({**CHEAP, "DATABASE_URL": f"sqlite:///{path}"})
            make_key(app, Permission.USERS_CREATE)
            dispose(app)
        migrate(f"sqlite:///{path}")
    assert not list(tmp_path.glob("*before*"))


def test_database_of_a_newer_version(app: Flask, here: Installation, database_url: str) -> None:
    """It is left as it was."""
    here.environment["DATABASE_URL"] = database_url
    make_user(app, "jo@example.com")
    execute(app, "UPDATE alembic_version SET version_num = '9999'")
    try:
        for command in ("users list", "db upgrade"):
            ended = here.flask(*command.split())
            assert (ended.returncode, ended.stderr.removeprefix("Error: ").strip()) == (1, schema_version.NEWER)
        (server,) = here.start("flask")
        assert schema_version.NEWER in server.log()
    finally:
        execute(app, "UPDATE alembic_version SET version_num = :head", head=schema_version.HEAD)
    with app.app_context():
        file = database.sqlite_file()
    assert file is None or not list(file.parent.glob("*.before-*"))
    assert rows(app, "SELECT email FROM users") == [("jo@example.com",)]


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


def test_search_keys_of_older_users(empty_url: str) -> None:
    """The migration gives older users their search keys."""
    app = create_app({**CHEAP, "DATABASE_URL": empty_url})
    migrating = app.test_cli_runner()
    assert migrating.invoke(args=["db", "upgrade", "0005"]).exit_code == 0
    columns = "id, email, email_key, first_name, password_hash, is_active, created_at, updated_at, deleted_at"
    at = clock.now()
    people = [
        {
            "id": f"usr_{n:032x}",
            "email": f"jo{n}@müller.example",
            "name": f"JO N{n}",
            "on": n != 1,
            "at": at,
            "gone": None,
        }
        for n in range(12_001)  # more than one batch
    ]
    people[2].update(on=False, gone=at)
    with app.app_context(), db.engine.begin() as connection:
        insert = f"INSERT INTO users ({columns}) VALUES (:id, :email, :email, :name, 'x', :on, :at, :at, :gone)"
        moments = [bindparam(name, type_=UtcDateTime) for name in ("at", "gone")]
        connection.execute(text(insert).bindparams(*moments), people)
    upgraded = migrating.invoke(args=["db", "upgrade"])
    assert upgraded.exit_code == 0, upgraded.output
    with app.app_context():
        for n, shown in ((0, "active"), (1, "deactivated"), (2, "deleted"), (6_000, "active"), (12_000, "active")):
            for asked in (f"JO{n}@", f"jo n{n}"):
                assert people[n]["id"] in [user.id for user in user_search.find(asked, shown)[0].rows]
        assert user_search.find("müller")[1]["active"].many
    dispose(app)


def test_upgrade_as_sql(empty_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A migration that computes cannot be written as SQL."""
    app = create_app({**CHEAP, "DATABASE_URL": empty_url})
    assert app.test_cli_runner().invoke(args=["db", "upgrade", "--sql"]).exit_code == 1
    assert "upgrade without --sql" in caplog.text
    dispose(app)
