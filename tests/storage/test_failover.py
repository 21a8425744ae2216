"""Several hosts in DATABASE_URL: the pool leaves a server that is frozen or read-only, and finds the primary."""

import math
import socket
import time
import uuid
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from psycopg.conninfo import conninfo_to_dict

from app import create_app
from support.api import Api
from support.application import CHEAP, dispose
from support.people import make_key
from support.postgres import run_on_postgres
from support.postgres_wire import Wire
from users.roles import Permission
from users.storage import database, idle_connections, postgres

pytestmark = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)


def url_of(real: str, first: Wire | int) -> str:
    """Return the URL of two hosts: a wire or a port of 127.0.0.1, then the real server."""
    parts = conninfo_to_dict(real)
    port = first if isinstance(first, int) else int(conninfo_to_dict(first.url)["port"] or 0)
    hosts = quote(f"127.0.0.1,{parts.get('host') or 'localhost'}", safe="")
    login = f"{parts.get('user', '')}:{quote(str(parts.get('password') or ''))}".rstrip(":")
    return (
        f"postgresql://{login}@/{parts['dbname']}?host={hosts}&port={port},{parts.get('port') or 5432}"
        "&target_session_attrs=read-write&sslmode=disable&gssencmode=disable"
    )


def caller(url: str) -> Api:
    """Return a caller of an application on this database."""
    app = create_app({**CHEAP, "DATABASE_URL": url, "TESTING": True})
    return Api(app.test_client(), make_key(app, Permission.USERS_CREATE))


def create(api: Api) -> int:
    """Create a user and return the status of the answer."""
    status: int = api.create(email=f"{uuid.uuid4().hex}@example.com").status_code
    return status


@pytest.fixture
def deaf() -> Iterator[int]:
    """A port that takes connections and never answers, like that of a frozen server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_first_host_is_frozen(database_url: str, deaf: int) -> None:
    """The second is reached within the budget of a request, whatever the URL says, and is tried first from then on."""
    start = time.monotonic()
    api = caller(f"{url_of(database_url, deaf)}&connect_timeout=10")
    assert create(api) == 201
    assert time.monotonic() - start < 4
    dispose(api.client.application)
    start = time.monotonic()
    assert create(api) == 201
    assert time.monotonic() - start < 2
    dispose(api.client.application)


def test_first_host_refuses(database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    api = caller(url_of(database_url, port))
    assert create(api) == 201
    dispose(api.client.application)


def test_host_freezes_while_idle(database_url: str, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request leaves a frozen server with all its connections, and finds the next one within its budget."""
    api = caller(url_of(database_url, wire))
    assert create(api) == 201
    wire.freeze()
    monkeypatch.setattr(idle_connections, "PING_AFTER_SECONDS", 0)
    start = time.monotonic()
    assert create(api) == 201
    assert time.monotonic() - start < 4
    dispose(api.client.application)


@pytest.mark.parametrize(("keeps", "status"), [(0, 201), (math.inf, 503)], ids=["older", "new"])
def test_server_became_read_only(
    postgres_server: str, database_url: str, monkeypatch: pytest.MonkeyPatch, keeps: float, status: int
) -> None:
    """Its connections are given up after the first refused write, that of `last_used_at`, if not younger than that."""
    name = conninfo_to_dict(database_url)["dbname"]
    api = caller(database_url)
    dispose(api.client.application)
    monkeypatch.setattr(postgres, "READ_ONLY_SECONDS", keeps)
    try:
        run_on_postgres(postgres_server, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        with api.client.application.app_context(), database.reading():
            pass  # the pool has a connection now that refuses writes
    finally:
        run_on_postgres(postgres_server, f"ALTER DATABASE {name} RESET default_transaction_read_only")
    assert [create(api), create(api)] == [status, status]
    dispose(api.client.application)


def test_readiness_finds_the_primary(postgres_server: str, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A balancer that sends no requests to a host that is not ready does not keep it there."""
    name = conninfo_to_dict(database_url)["dbname"]
    api = caller(database_url)
    dispose(api.client.application)
    monkeypatch.setattr(postgres, "READ_ONLY_SECONDS", 0)
    try:
        run_on_postgres(postgres_server, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        with api.client.application.app_context(), database.reading(), database.reading():
            pass  # the pool has two connections now that refuse writes
    finally:
        run_on_postgres(postgres_server, f"ALTER DATABASE {name} RESET default_transaction_read_only")
    unready = {"status": "unavailable", "reason": "read-only"}
    first, second = (api.client.get("/readyz") for _ in range(2))
    assert (first.status_code, first.json, second.status_code) == (503, unready, 200)
    dispose(api.client.application)
