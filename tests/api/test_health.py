"""/healthz says that the process lives, /readyz that it can serve: to anybody, cheaply, quietly while all is well."""

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
from users.storage import database, schema_version
from users.storage.models import db

OK = {"status": "ok"}


def unavailable(reason: str) -> dict[str, str]:
    """The body of a 503."""
    return {"status": "unavailable", "reason": reason}


def told(answer: Answer) -> tuple[int, object]:
    """Return an answer's status and body."""
    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.status_code, answer.json


@contextmanager
def application(address: str) -> Iterator[Api]:
    """Yield a caller without a key of an application on the database at `address`."""
    app = create_app({**CHEAP, "DATABASE_URL": address, "TESTING": True})
    yield Api(app.test_client(), None)
    dispose(app)


@pytest.fixture
def stranger(app: Flask) -> Api:
    """A caller without a key."""
    return Api(app.test_client(), None)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/healthz/", "/readyz/"])
def test_all_is_well(stranger: Api, path: str) -> None:
    answer = stranger.get(path)
    assert told(answer) == (200, OK)
    assert "Set-Cookie" not in answer.headers
    head = stranger.call("HEAD", path)
    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["Content-Length"] == answer.headers["Content-Length"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_who_asks_makes_no_difference(api: Api, path: str) -> None:
    for key in (api.key, "no key", None):
        assert told(api.get(path, key=key)) == (200, OK)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_they_are_only_read(stranger: Api, method: str, path: str) -> None:
    answer = stranger.call(method, path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("breaks", "mends"),
    [
        ("UPDATE alembic_version SET version_num = '0001'", "UPDATE alembic_version SET version_num = '{head}'"),
        ("UPDATE alembic_version SET version_num = '9999'", "UPDATE alembic_version SET version_num = '{head}'"),
        ("DELETE FROM alembic_version", "INSERT INTO alembic_version VALUES ('{head}')"),
        ("ALTER TABLE alembic_version RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO alembic_version"),
    ],
    ids=["behind", "newer", "no version", "no table"],
)
def test_another_schema_is_noticed_and_so_is_its_end(app: Flask, stranger: Api, breaks: str, mends: str) -> None:
    assert told(stranger.get("/readyz")) == (200, OK)
    execute(app, breaks)
    try:
        assert told(stranger.get("/readyz")) == (503, unavailable("schema"))
        assert stranger.call("HEAD", "/readyz").status_code == 503
        assert told(stranger.get("/healthz")) == (200, OK)
    finally:
        execute(app, mends.format(head=schema_version.HEAD))
    assert told(stranger.get("/readyz")) == (200, OK)


def test_an_empty_database_is_another_schema(tmp_path: Path, empty_postgres: str) -> None:
    for address in (f"sqlite:///{tmp_path}/empty.db", empty_postgres):
        with application(address) as stranger:
            assert told(stranger.get("/readyz")) == (503, unavailable("schema"))


def test_a_newer_database_is_told_without_stopping_what_still_works(app: Flask, api: Api) -> None:
    """While servers are replaced one by one, the old ones are to be drained, not to fail."""
    assert api.create().status_code == 201
    execute(app, "UPDATE alembic_version SET version_num = '9999'")
    try:
        assert told(api.get("/readyz")) == (503, unavailable("schema"))
        assert api.create(email="sam@example.com").status_code == 201
    finally:
        execute(app, "UPDATE alembic_version SET version_num = :head", head=schema_version.HEAD)


def test_a_database_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.db"
    damaged.write_text("not a database " * 100)
    for address in (f"sqlite:///{tmp_path}/nowhere/enrol.db", f"sqlite:///{damaged}", "postgresql://x@127.0.0.1:1/x"):
        with application(address) as stranger:
            assert told(stranger.get("/readyz")) == (503, unavailable("database"))
            assert told(stranger.get("/healthz")) == (200, OK)


def test_a_postgres_that_goes_away_is_noticed(wire: Wire) -> None:
    with application(wire.address) as stranger:
        assert told(stranger.get("/readyz")) == (200, OK)
        wire.cut()  # connections that were idle are replaced
        assert told(stranger.get("/readyz")) == (200, OK)
        wire.close()
        assert told(stranger.get("/readyz")) == (503, unavailable("database"))


def test_a_postgres_that_says_nothing_is_given_up_on_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"postgresql://x@127.0.0.1:{mute.getsockname()[1]}/x"
        with application(address) as stranger:
            start = time.monotonic()
            assert told(stranger.get("/readyz")) == (503, unavailable("database"))
            assert time.monotonic() - start < database.BUDGET_SECONDS + 1
            start = time.monotonic()
            assert told(stranger.get("/healthz")) == (200, OK)
            assert time.monotonic() - start < 2


def test_somebody_who_writes_keeps_nobody_waiting(app: Flask, stranger: Api) -> None:
    assert told(stranger.get("/readyz")) == (200, OK)
    with app.app_context(), database.transaction() as session:
        session.execute(db.text("DELETE FROM users"))
        start = time.monotonic()
        assert told(stranger.get("/readyz")) == (200, OK)
        assert time.monotonic() - start < 2


@pytest.mark.parametrize("settings", [{"ENROL_TRUSTED_HOSTS": "users.example.com"}])
def test_a_probe_must_name_a_trusted_host_too(stranger: Api) -> None:
    for path in ("/healthz", "/readyz"):
        assert stranger.get(path, headers={"Host": "10.0.0.7"}).status_code == 400
        assert told(stranger.get(path, headers={"Host": "users.example.com"})) == (200, OK)


def test_only_a_failure_is_logged(app: Flask, stranger: Api, events: list[logging.LogRecord]) -> None:
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
def test_the_servers_answer_it_and_log_nothing_of_it(kind: str, tmp_path: Path) -> None:
    with installed(tmp_path / "enrol") as made:
        server: Server
        (server,) = made.start(kind)
        for path in ("/healthz", "/readyz"):
            assert (server.call("GET", path).status, server.call("GET", path).json) == (200, OK)
            assert server.call("HEAD", path).body == b""
        server.call("GET", "/v1/user/deleted")
        limit = time.monotonic() + 10
        while "/v1/user/deleted" not in server.log():  # a line is written a moment after its answer
            assert time.monotonic() < limit
            time.sleep(0.01)
        assert "/healthz" not in server.log()
        assert "/readyz" not in server.log()
