"""The fixtures of all tests: both databases, an application on each, the cast, and a caller of the API."""

import gc
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from _pytest.nodeid import NodeId
from flask import Flask
from flask.testing import FlaskCliRunner
from hypothesis import settings as hypothesis_settings
from jinja2 import FileSystemBytecodeCache
from sqlalchemy import Connection, event

from app import create_app
from support import answers, lanes, rewriting
from support.api import Api
from support.application import CHEAP, dispose, migrate, share_statements
from support.databases import DATABASES, TRIGGERS_OFF_AND_ON
from support.people import Cast, make_key, make_user
from support.postgres import own_postgres, postgres_database
from users.logs import commands
from users.roles import Permission, Role
from users.services import cleanup
from users.storage.models import db

pytest_plugins = [
    "support.chromium",
    "support.create_cases",
    "support.crowd",
    "support.expired_rows",
    "support.four_servers",
    "support.guessers",
    "support.inspector",
    "support.pgbouncer",
    "support.postgres_wire",
    "support.pruned_events",
    "support.visitors",
    "support.scenes",  # after visitors, which it imports: pytest rewrites the assertions of each before its import
    "support.page_forms",
]
hypothesis_settings.register_profile("long", max_examples=20_000)  # pytest --hypothesis-profile=long
hypothesis_settings.register_profile("fast", max_examples=50)  # of the fast lane
COMPILED = FileSystemBytecodeCache()  # of this user alone, and told from others by a hash of the source


def pytest_configure(config: pytest.Config) -> None:
    """Show commands alike wherever pytest was started from, and try few examples in the fast lane."""
    commands.PROGRAM = "flask"
    if "not processes" in config.getoption("markexpr"):
        hypothesis_settings.load_profile("fast")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let each worker of xdist rewrite the assertions of some modules for all."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        rewriting.rewrite_share(session.config)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out the second run of what asks for `one_database`, and keep the tests of an `xdist_group` in one worker.

    For the latter, xdist 3.8 names the group where pytest 9.2 does not look.
    """
    items[:] = [item for item in items if not (item.get_closest_marker("one_database") and _is_on_postgres(item))]
    for item in items:
        for mark in item.iter_markers("xdist_group"):
            item._id = NodeId.parse(f"{item.nodeid}@{mark.args[0]}")


def _is_on_postgres(item: pytest.Item) -> bool:
    return "callspec" in vars(item) and vars(item)["callspec"].params.get("database_url") == "postgres"


def pytest_itemcollected(item: pytest.Function) -> None:
    """Give every test the marker of its lane."""
    lanes.mark(item)


def pytest_collection_finish() -> None:
    """Collect garbage rarely: each test leaves an application behind, and collecting took a sixth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a Postgres server on which the tests may create and drop databases."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield given
        return
    with own_postgres() as server:
        yield server.get_uri()


@pytest.fixture
def empty_postgres(postgres_server: str) -> Iterator[str]:
    """The URL of a new database without tables."""
    with postgres_database(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: str) -> Iterator[str]:
    """The URL of a database with all tables, for `emptied_postgres`."""
    with postgres_database(postgres_server) as url:
        migrate(url)
        yield url


@pytest.fixture(scope="session")
def emptying(migrated_postgres: str) -> Iterator[psycopg.Connection[Any]]:
    """The connection that empties that database: a new one for each test would double the time."""
    with psycopg.connect(migrated_postgres, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def emptied_postgres(migrated_postgres: str, emptying: psycopg.Connection[Any]) -> Callable[[], str]:
    """A function that empties all tables of that database and returns its URL.

    A fixture that serves on it calls this first: with the secret key of another test there, a server refuses to work.
    """

    def empty() -> str:
        # TRUNCATE would take twice as long.
        statements = [f'DELETE FROM "{table.name}"' for table in reversed(db.metadata.sorted_tables)]
        emptying.execute("; ".join([TRIGGERS_OFF_AND_ON[0], *statements, TRIGGERS_OFF_AND_ON[1]]).encode())
        return migrated_postgres

    return empty


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with all tables, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty, migrated database: every test that uses it runs on SQLite and on Postgres."""
    if request.param == "sqlite":
        path = tmp_path / "enrol.db"
        shutil.copy(request.getfixturevalue("migrated_sqlite"), path)
        return f"sqlite:///{path}"
    url: str = request.getfixturevalue("emptied_postgres")()
    return url


@pytest.fixture
def settings() -> dict[str, str]:
    """Settings of the test's application, over the cheap ones; a test overrides them by parametrizing."""
    return {}


def _insist_that_reading_reads(connection: Connection, _cursor: object, statement: str, *_more: object) -> None:
    options = connection.get_execution_options()
    if options.get("isolation_level") == "AUTOCOMMIT" or options.get("sqlite_begin") == "":
        assert statement.startswith(("SELECT", "PRAGMA wal_checkpoint")), statement


def _spare_the_disk(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA synchronous = OFF")  # tests/faults asks what is on disk after a crash


@pytest.fixture
def app(
    request: pytest.FixtureRequest,
    database_url: str,
    settings: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Flask]:
    """The application on an empty database. It cleans up by itself only in a test that moves the `steady` clock."""
    with monkeypatch.context() as patch:
        if "steady" not in request.fixturenames:
            patch.setattr(cleanup, "FIRST_AFTER_SECONDS", 3600)
        given = {**CHEAP, "DATABASE_URL": database_url, "ENROL_SPOOL_DIR": str(tmp_path / "imports"), **settings}
        app = create_app({**given, "TESTING": True})
    app.jinja_env.bytecode_cache = COMPILED  # every application would compile the pages for itself
    with app.app_context():
        share_statements(db.engine)
        event.listen(db.engine, "before_cursor_execute", _insist_that_reading_reads)
        if db.engine.dialect.name == "sqlite":
            event.listen(db.engine, "connect", _spare_the_disk)
    yield app
    dispose(app)


@pytest.fixture
def runner(app: Flask) -> FlaskCliRunner:
    """What runs `flask …` in this process."""
    return app.test_cli_runner()


class _Kept(logging.Handler):
    """Keeps the log records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def events(app: Flask) -> Iterator[list[logging.LogRecord]]:
    """The events that the service logs, as they come."""
    handler = _Kept()
    logging.getLogger("enrol").addHandler(handler)
    yield handler.records
    logging.getLogger("enrol").removeHandler(handler)


@pytest.fixture(autouse=True)
def _every_answer_is_as_the_document_says() -> Iterator[None]:
    """Fail a test that got from /v1 what `openapi.json` does not promise."""
    with answers.watched() as complaints:
        yield
    assert complaints == []


@pytest.fixture
def api(app: Flask) -> Api:
    """A caller whose service key may create and read users."""
    return Api(app.test_client(), make_key(app, Permission.USERS_CREATE, Permission.USERS_READ))


@pytest.fixture
def cast(app: Flask) -> Cast:
    """The four users of the tests, in the database."""
    return Cast(
        ada=make_user(app, "ada@example.com", Role.ADMIN, first_name="Ada", last_name="Lovelace"),
        omar=make_user(app, "omar@example.com", Role.OPERATOR, first_name="Omar"),
        vera=make_user(app, "vera@example.com", Role.AUDITOR),
        sam=make_user(app, "sam@example.com"),
    )
