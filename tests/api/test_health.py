"""/healthz says that the process lives, /readyz that it can serve. Both are public, and log only failures."""

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask

from app import create_app
from support.api import Answer, Api
from support.application import CHEAP, dispose
from support.databases import execute
from support.installations import installed
from support.postgres_wire import Wire
from support.servers import KINDS, Server
from users import __version__
from users.storage import database, schema_version
from users.storage.deadlines import BUDGET_SECONDS
from users.storage.models import db

OK = {"status": "ok"}
READY = {"status": "ok", "version": __version__}
BODIES = {"/healthz": OK, "/readyz": READY}


def unavailable(reason: str) -> dict[str, str]:
    """The body of a 503."""
    return {"status": "unavailable", "reason": reason}


def status_and_body(answer: Answer) -> tuple[int, object]:
    """Return the status and the body of an answer."""
    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.status_code, answer.json


@contextmanager
def application(database_url: str) -> Iterator[Api]:
    """Yield a caller without a key of an application on this database."""
    app = create_app({**CHEAP, "DATABASE_URL": database_url, "TESTING": True})
    yield Api(app.test_client(), None)
    dispose(app)


@pytest.fixture
def stranger(app: Flask) -> Api:
    """A caller without a key."""
    return Api(app.test_client(), None)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/healthz/", "/readyz/"])
def test_ok(stranger: Api, path: str) -> None:
    answer = stranger.get(path)
    assert status_and_body(answer) == (200, BODIES[path.rstrip("/")])
    assert "Set-Cookie" not in answer.headers
    head = stranger.call("HEAD", path)
    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["Content-Length"] == answer.headers["Content-Length"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_any_caller_gets_the_same_answer(api: Api, path: str) -> None:
    for key in (api.key, "no key", None):
        assert status_and_body(api.get(path, key=key)) == (200, BODIES[path])


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_405(stranger: Api, method: str, path: str) -> None:
    answer = stranger.call(method, path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("breaks", "mends"),
    [
        ("UPDATE alembic_version SET version_num = '0001'", "UPDATE alembic_version SET version_num = '{head}'"),
        ("DELETE FROM alembic_version", "INSERT INTO alembic_version VALUES ('{head}')"),
        ("ALTER TABLE alembic_version RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO alembic_version"),
    ],
    ids=["behind", "no version", "no table"],
)
def test_other_schema_is_503(app: Flask, stranger: Api, breaks: str, mends: str) -> None:
    """And 200 again once the schema is right."""
    assert status_and_body(stranger.get("/readyz")) == (200, READY)
    execute(app, breaks)
    try:
        assert status_and_body(stranger.get("/readyz")) == (503, unavailable("schema"))
        assert stranger.call("HEAD", "/readyz").status_code == 503
        assert status_and_body(stranger.get("/healthz")) == (200, OK)
    finally:
        execute(app, mends.format(head=schema_version.HEAD))
    assert status_and_body(stranger.get("/readyz")) == (200, READY)


def test_empty_database_is_503(tmp_path: Path, empty_postgres: str) -> None:
    for url in (f"sqlite:///{tmp_path}/empty.db", empty_postgres):
        with application(url) as stranger:
            assert status_and_body(stranger.get("/readyz")) == (503, unavailable("schema"))


def test_database_that_cannot_be_opened_is_503(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.db"
    damaged.write_text("not a database " * 100)
    for url in (f"sqlite:///{tmp_path}/nowhere/enrol.db", f"sqlite:///{damaged}", "postgresql://x@127.0.0.1:1/x"):
        with application(url) as stranger:
            assert status_and_body(stranger.get("/readyz")) == (503, unavailable("database"))
            assert status_and_body(stranger.get("/healthz")) == (200, OK)


def test_lost_postgres_is_503(wire: Wire) -> None:
    with application(wire.url) as stranger:
        assert status_and_body(stranger.get("/readyz")) == (200, READY)
        wire.cut()  # connections that were idle are replaced
        assert status_and_body(stranger.get("/readyz")) == (200, READY)
        wire.close()
        assert status_and_body(stranger.get("/readyz")) == (503, unavailable("database"))


def test_silent_postgres_is_503_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"postgresql://x@127.0.0.1:{mute.getsockname()[1]}/x"
        with application(url) as stranger:
            start = time.monotonic()
            assert status_and_body(stranger.get("/readyz")) == (503, unavailable("database"))
            assert time.monotonic() - start < BUDGET_SECONDS + 1
            start = time.monotonic()
            assert status_and_body(stranger.get("/healthz")) == (200, OK)
            assert time.monotonic() - start < 2


def test_probe_does_not_wait_for_a_writer(app: Flask, stranger: Api) -> None:
    assert status_and_body(stranger.get("/readyz")) == (200, READY)
    with app.app_context(), database.transaction() as session:
        session.execute(db.text("DELETE FROM users"))
        start = time.monotonic()
        assert status_and_body(stranger.get("/readyz")) == (200, READY)
        assert time.monotonic() - start < 2


@pytest.mark.parametrize("settings", [{"ENROL_TRUSTED_HOSTS": "users.example.com"}])
def test_probe_needs_a_trusted_host(stranger: Api) -> None:
    for path in ("/healthz", "/readyz"):
        assert stranger.get(path, headers={"Host": "10.0.0.7"}).status_code == 400
        assert status_and_body(stranger.get(path, headers={"Host": "users.example.com"})) == (200, BODIES[path])


def test_only_failures_are_logged(app: Flask, stranger: Api, events: list[logging.LogRecord]) -> None:
    for path in ("/healthz", "/readyz"):
        stranger.get(path)
    assert events == []
    execute(app, "UPDATE alembic_version SET version_num = '0001'")
    try:
        answer = stranger.get("/readyz")
    finally:
        execute(app, "UPDATE alembic_version SET version_num = :head", head=schema_version.HEAD)
    stranger.call("POST", "/healthz")
    logged = [event.__dict__["fields"] for event in events]
    assert [(fields["route"], fields["status"], fields["code"]) for fields in logged] == [
        ("/readyz", 503, "SERVICE_UNAVAILABLE"),
        (None, 405, "METHOD_NOT_ALLOWED"),
    ]
    assert logged[0]["trace_id"] == answer.headers["X-Request-Id"]


@pytest.mark.parametrize("kind", KINDS)
def test_servers_log_no_probe(kind: str, tmp_path: Path) -> None:
    with installed(tmp_path / "enrol") as made:
        server: Server
        (server,) = made.start(kind)
        for path in ("/healthz", "/readyz"):
            assert (server.call("GET", path).status, server.call("GET", path).json) == (200, BODIES[path])
            assert server.call("HEAD", path).body == b""
        server.call("GET", "/v1/user/deleted")
        limit = time.monotonic() + 60
        while "/v1/user/deleted" not in server.log():  # a line is written a moment after its answer
            assert time.monotonic() < limit
            time.sleep(0.01)
        assert "/healthz" not in server.log()
        assert "/readyz" not in server.log()
