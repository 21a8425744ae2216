"""SIGTERM: the server finishes its requests, refuses new ones, and ends by itself."""

import contextlib
import http.client
import json
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support.application import app_on
from support.installations import Installation, installed
from support.people import PASSWORD, make_key
from support.servers import START_SECONDS, Server
from users.roles import Permission

KILL_SECONDS = 10  # --workers-kill-timeout of OPERATIONS.md
HASH = "m=65536,t=8,p=1"  # a third of a second; many times that on busy cores, since hash threads have low priority
BODY = {"email": "jo@example.com", "password": PASSWORD}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Installation]:
    """An installation whose hashes are slow."""
    with installed(tmp_path / "enrol", {"ENROL_PASSWORD_HASH": HASH}) as made:
        yield made


@pytest.fixture
def server(here: Installation) -> Server:
    """The production server, all of it: Granian does not tell a worker that it still starts that it should end."""
    (server,) = here.start("production")
    server.wait_until_started(2)
    return server


def query(here: Installation, question: str) -> Sequence[Any]:
    """Return what the database holds, past the service."""
    with contextlib.closing(sqlite3.connect(here.instance / "enrol.db", timeout=10)) as connection:
        return connection.execute(question).fetchall()


def stop(server: Server) -> float:
    """Ask the server to end, as systemd and Docker do, and return when that was."""
    server.process.send_signal(signal.SIGTERM)
    return time.monotonic()


def create_key(here: Installation) -> str:
    """Return a key that may create users."""
    with app_on(here) as app:
        return make_key(app, Permission.USERS_CREATE)


def wait_until_begun(here: Installation) -> None:
    """Return when a create was begun: its key is looked up before its body is read."""
    limit = time.monotonic() + START_SECONDS
    while query(here, "SELECT last_used_at FROM api_keys") == [(None,)]:
        assert time.monotonic() < limit
        time.sleep(0.01)


def assert_created_and_ended(here: Installation, server: Server) -> None:
    """Make sure that Jo was created and that the server ended by itself."""
    assert server.process.wait(KILL_SECONDS) == 0
    assert query(here, "SELECT email FROM users") == [(BODY["email"],)]
    assert '"route": "/v1/user/", "status": 201' in server.log()


def test_stop_during_a_create(here: Installation, server: Server) -> None:
    """A create that is running at SIGTERM is answered, and the process ends."""
    key = create_key(here)
    with ThreadPoolExecutor(1) as pool:
        create = pool.submit(server.call, "POST", "/v1/user/", key=key, body=BODY)
        wait_until_begun(here)
        stop(server)
        assert not create.done(), "it is being hashed"
        assert create.result().status == 201
    assert_created_and_ended(here, server)


def test_stop_refuses_connections(here: Installation, server: Server) -> None:
    """New connections are refused while the last create is finished."""
    content = json.dumps(BODY).encode()
    head = ["Host: 127.0.0.1", f"X-API-Key: {create_key(here)}", "Content-Type: application/json"]
    head = ["POST /v1/user/ HTTP/1.1", *head, f"Content-Length: {len(content)}", "", ""]
    with server.connect() as connection:
        connection.sendall("\r\n".join(head).encode() + content[:-1])
        wait_until_begun(here)
        stop(server)
        wait_until_refused(server)
        connection.sendall(content[-1:])
        answer = http.client.HTTPResponse(connection, method="POST")
        answer.begin()
        assert answer.status == 201
    assert_created_and_ended(here, server)


def test_stop_loses_no_line(here: Installation, server: Server) -> None:
    """Every answer that was sent has its line in the log."""
    with app_on(here) as app:
        key = make_key(app, Permission.USERS_READ)

    def ask(_client: int) -> int:
        answers = 0
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(server.keep()) as connection:
            while True:
                connection.request("GET", "/v1/user/usr_nobody", headers={"X-API-Key": key})
                answers += bool(connection.getresponse().read())
        return answers

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask, client) for client in range(4)]
        time.sleep(1)
        stop(server)
        assert server.process.wait(KILL_SECONDS) == 0
    answers = sum(one.result() for one in asking)
    assert answers > 100
    assert server.log().count('"/v1/user/<id:user_id>"') == answers


def wait_until_refused(server: Server) -> None:
    """Return when the port is closed, which must be long before a create would be given up."""
    limit = time.monotonic() + KILL_SECONDS / 2
    with contextlib.suppress(ConnectionRefusedError):
        while time.monotonic() < limit:
            socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
            time.sleep(0.01)
        raise AssertionError("it still takes connections")


_SLOW_HEADER = b"POST /admin/login HTTP/1.1\r\nHost: 127.0.0.1\r\nCont"
_SLOW_BODY = b"POST /admin/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
_SLOW_BODY += b"Content-Length: 200\r\n\r\nemail="


@pytest.mark.parametrize("sent", [[b""], [_SLOW_HEADER, _SLOW_BODY]], ids=["idle", "slow"])
def test_stop_with_a_stalled_client(server: Server, sent: list[bytes]) -> None:
    """A client that stalls does not delay the end."""
    with contextlib.ExitStack() as connections:
        for content in sent:
            connections.enter_context(server.connect()).sendall(content)
        time.sleep(0.3)
        stopped = stop(server)
        assert server.process.wait(KILL_SECONDS + 10) == 0
        assert time.monotonic() - stopped < KILL_SECONDS + 5


def test_documented_stop_time(here: Installation) -> None:
    line, _port = here.command("production")
    assert line[line.index("--workers-kill-timeout") + 1] == str(KILL_SECONDS)
