"""An export from real servers is whole: its length is told before its first byte, and kept or missed for all to see."""

import contextlib
import http.client
import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator

import pytest

from support.application import app_on
from support.installations import Installation, installed
from support.nginx import free_port
from support.people import make_key
from support.population import populate
from support.servers import BIN, Server
from users.roles import Permission

pytestmark = pytest.mark.xdist_group("exports")  # they share servers, which one worker of xdist starts
USERS = 12_000
SERVERS = ("flask", "granian", "gunicorn")
EXPORT = "/v1/user/export?format=jsonl&hashes=true"  # more than a socket buffers


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with many users."""
    with installed(tmp_path_factory.mktemp("exports") / "enrol") as made:
        with app_on(made):
            pass  # it makes the tables
        populate(f"sqlite:///{made.instance}/enrol.db", USERS)
        yield made


@pytest.fixture(scope="module")
def key(here: Installation) -> str:
    """A key that may read users and their hashes."""
    with app_on(here) as app:
        return make_key(app, Permission.USERS_READ, Permission.HASHES_READ)


@pytest.fixture(params=SERVERS)
def server(here: Installation, request: pytest.FixtureRequest) -> Server:
    """Each of the servers in turn, for one test."""
    if request.param != "gunicorn":
        return here.start(request.param)[0]
    port = free_port()
    return here.launch([str(BIN / "gunicorn"), "--threads", "4", "--bind", f"127.0.0.1:{port}", "app:serve()"], port)


def test_whole_or_visibly_not(here: Installation, server: Server, key: str) -> None:
    """An answer is as long as it says; one that is cut by `kill -9` is shorter, which every client can tell."""
    answer = server.call("GET", EXPORT, key=key)
    assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(answer.body)))
    assert answer.body.endswith(b"}\n")
    assert answer.body.count(b"\n") == USERS - USERS // 200  # without the deleted
    assert list((here.instance / "imports").iterdir()) == []
    with contextlib.closing(server.keep()) as connection:
        connection.connect()
        # What the kernel has taken from a process, it sends after the end of that process: take little of it.
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.request("GET", EXPORT, headers={"X-API-Key": key})
        cut = connection.getresponse()
        cut.read(1000)
        os.killpg(server.process.pid, signal.SIGKILL)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            cut.read()
        cut.close()
    server.process.wait(60)


def test_database_is_lost_midway(here: Installation, server: Server, key: str) -> None:
    """Whoever gets 200 gets all users; the others get an error, and no part of a file."""
    answers = []
    asking = threading.Thread(target=lambda: answers.append(server.call("GET", EXPORT, key=key)))
    with contextlib.closing(sqlite3.connect(here.instance / "enrol.db", isolation_level=None)) as file:
        begun = "SELECT count(*) FROM audit_events WHERE action = 'user.export'"
        before = file.execute(begun).fetchone()
        asking.start()
        until = time.monotonic() + 60
        while file.execute(begun).fetchone() == before and time.monotonic() < until:
            time.sleep(0.005)
        file.execute("ALTER TABLE users RENAME TO elsewhere")
        try:
            asking.join(60)
        finally:
            file.execute("ALTER TABLE elsewhere RENAME TO users")
    (answer,) = answers
    if answer.status == 200:
        assert answer.body.count(b"\n") == USERS - USERS // 200
    else:
        assert (answer.status, answer.code) == (503, "SERVICE_UNAVAILABLE")
        assert "Content-Disposition" not in answer.headers
    server.end()
