"""A primary that waits in COMMIT for a standby that is gone: sessions stay few, reads go on, and writes come back."""

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import TypeVar

import psycopg
import pytest
from flask import Flask

from app import create_app
from support.api import Api
from support.application import CHEAP, dispose, migrate
from support.command_line import run
from support.people import make_key
from support.postgres import own_postgres, run_on_postgres
from support.postgres_wire import Wire
from users.roles import Permission
from users.storage import database

pytestmark = pytest.mark.xdist_group("abandoned commits")
T = TypeVar("T")
BUDGET_SECONDS = 0.5  # instead of 4, so COMMITs are abandoned eight times as fast

LIMITS = {"ENROL_DATABASE_POOL": "4", "ENROL_RATE_LIMIT": "off"}  # three may write at once, and one is left for reads


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a Postgres whose COMMITs can be made to wait."""
    with own_postgres() as made:
        migrate(made.get_uri())
        yield made.get_uri()


@pytest.fixture
def app(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """An application there with little patience."""
    monkeypatch.setattr(database, "BUDGET_SECONDS", BUDGET_SECONDS)
    made = create_app({**CHEAP, "DATABASE_URL": server, "TESTING": True, **LIMITS})
    yield made
    dispose(made)


@contextlib.contextmanager
def standby_gone(server: str) -> Iterator[None]:
    """Let each COMMIT wait for a standby that does not come."""
    try:
        _wait_for(server, "nobody")
        yield
    finally:
        _wait_for(server, "")


def _wait_for(server: str, standby: str) -> None:
    run_on_postgres(server, f"ALTER SYSTEM SET synchronous_standby_names = '{standby}'")
    run_on_postgres(server, "SELECT pg_reload_conf()")
    shown = None
    while shown != (standby,):
        with psycopg.connect(server) as connection:
            shown = connection.execute("SHOW synchronous_standby_names").fetchone()


def create(api: Api) -> tuple[int, object]:
    """Try to create a user; return the status, and what is said of the outcome."""
    answer = api.create(email=f"{uuid.uuid4().hex}@example.com")
    body = answer.json or {}
    return answer.status_code, body["error"]["details"] if answer.status_code == 503 else None


@contextlib.contextmanager
def repeated(act: Callable[[], T], *, threads: int = 1) -> Iterator[list[T]]:
    """Let threads do it again and again, and yield what came of it."""
    told: list[T] = []
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(0.03):
            told.append(act())

    running = [threading.Thread(target=repeat) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield told
    finally:
        stop.set()
        for thread in running:
            thread.join()


def sessions(server: str, *, like: str = "backend_type = 'client backend'") -> int:
    """Return how many sessions of this kind the server has."""
    with psycopg.connect(server) as connection:
        row = connection.execute(f"SELECT count(*) FROM pg_stat_activity WHERE {like}".encode())
        return int((row.fetchone() or [0])[0])


def test_standby_gone(app: Flask, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight writers leave few sessions behind; meanwhile reads are answered."""
    monkeypatch.setattr(database, "BUDGET_SECONDS", 2 * BUDGET_SECONDS)  # a read takes a while on a busy machine
    key = make_key(app, Permission.USERS_CREATE, Permission.USERS_READ)
    assert create(Api(app.test_client(), key))[0] == 201  # and `last_used_at` is written

    def read() -> int:
        return int(Api(app.test_client(), key).get("/v1/user/?limit=1").status_code)

    with standby_gone(server):
        with (
            repeated(lambda: create(Api(app.test_client(), key)), threads=8) as created,
            repeated(read) as read_statuses,
            repeated(lambda: sessions(server)) as counts,
        ):
            time.sleep(4)
        assert {status for status, _ in created} == {503}
        unknown = sum(details == {"outcome": "unknown"} for _, details in created)
        assert unknown <= 3 + 3, "the first of each writer, then one at a time until a session waits for a second"
        assert len(created) > 100, "the others are told at once"
        assert set(read_statuses) == {200}
        assert max(counts) <= 16
    start = time.monotonic()
    while create(Api(app.test_client(), key))[0] != 201:
        assert time.monotonic() - start < 2
    assert create(Api(app.test_client(), key))[0] == 201


def test_read_of_a_key_first_used(app: Flask, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read goes on when the note that its key was used cannot be committed."""
    monkeypatch.setattr(database, "BUDGET_SECONDS", 8 * BUDGET_SECONDS)  # for a new connection on a busy machine
    monkeypatch.setattr(database, "SHORT_COMMIT_SECONDS", BUDGET_SECONDS / 2)
    key = make_key(app, Permission.USERS_READ)
    with standby_gone(server):
        assert Api(app.test_client(), key).get("/v1/user/?limit=1").status_code == 200


def test_commit_of_nothing(app: Flask, server: str) -> None:
    """It waits for no standby, so it does not let other writes go on."""
    api = Api(app.test_client(), make_key(app, Permission.USERS_CREATE))
    assert create(api)[0] == 201
    with standby_gone(server):
        assert create(api)[1] == {"outcome": "unknown"}
        with app.app_context(), database.transaction():
            pass
        assert app.extensions["enrol.commits"].abandoned
    with app.app_context(), database.transaction():
        pass
    assert app.extensions["enrol.commits"].abandoned
    assert create(api)[0] == 201
    assert not app.extensions["enrol.commits"].abandoned


def test_commands(app: Flask, server: str) -> None:
    """A command asks first, so it leaves no session behind; doctor says what to do."""
    api = Api(app.test_client(), make_key(app, Permission.USERS_CREATE))
    todo = "bring it back or take it out of synchronous_standby_names."
    with standby_gone(server):
        create(api)
        time.sleep(1)
        told = run(app.test_cli_runner(), "users", "create", "jo@example.com", "--generate-password")
        assert (told.exit_code, told.stdout) == (1, "")
        assert todo in told.stderr
        assert sessions(server, like="wait_event = 'SyncRep'") == 1
        assert todo in run(app.test_cli_runner(), "doctor").stdout
    assert run(app.test_cli_runner(), "users", "create", "jo@example.com", "--generate-password").exit_code == 0


def test_writes_outside_requests(app: Flask) -> None:
    """They do not stand in each other's way."""
    with app.app_context(), database.transaction(), database.transaction():
        pass


def test_frozen_during_commit(wire: Wire, wired_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A COMMIT that was given up for another reason holds up no later write."""
    assert create(wired_api)[0] == 201
    monkeypatch.setattr(database, "BUDGET_SECONDS", BUDGET_SECONDS)
    wire.at_commit = "hold"
    assert create(wired_api) == (503, {"outcome": "unknown"})
    wire.cut()
    assert create(wired_api)[0] == 201
