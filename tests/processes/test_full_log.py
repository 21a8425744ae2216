"""A log that is full, closed or not read stops no answer and delays none, of the processes that really serve."""

import contextlib
import fcntl
import json
import os
import select
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.application import app_on
from support.installations import Installation, installed
from support.people import PASSWORD, make_key
from support.servers import KINDS, Reply, Server
from users.logs import handlers
from users.roles import Permission

PIPE_BYTES = 4096  # the smallest there is: some twenty lines
SET_PIPE_SIZE = 1031  # fcntl.F_SETPIPE_SZ, which Linux alone has


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Installation]:
    """A copy of the application with a new instance folder; its servers are ended with the test."""
    with installed(tmp_path / "enrol") as made:
        yield made


@pytest.fixture
def key(here: Installation) -> str:
    """A key that may create users, in a new database."""
    with app_on(here) as app:
        return make_key(app, Permission.USERS_CREATE)


@pytest.fixture
def pipe(here: Installation) -> Iterator[int]:
    """The reading end of a pipe named `pipe`, which only the test reads."""
    os.mkfifo(here.folder / "pipe")
    end = os.open(here.folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(end, SET_PIPE_SIZE, PIPE_BYTES)
    yield end
    with contextlib.suppress(OSError):  # a test has closed it
        os.close(end)


def create(server: Server, key: str) -> Reply:
    """Create a user."""
    body = {"email": f"{uuid.uuid4().hex}@example.com", "password": PASSWORD}
    return server.call("POST", "/v1/user/", key=key, body=body)


def assert_serves(server: Server, key: str, requests: int) -> None:
    """Hold `server` to its answers, each of which has a line in the log."""
    for _ in range(requests):
        reply = create(server, key)
        assert (reply.status, reply.seconds < 5) == (201, True), reply.seconds


@pytest.mark.parametrize("kind", KINDS)
def test_unread_pipe(here: Installation, key: str, pipe: int, kind: str) -> None:
    """A log pipe that no process reads delays no answer, and its lines come when it is read."""
    (server,) = here.start(kind, output=">pipe 2>pipe")
    assert_serves(server, key, 60)
    assert not _has_room(here), "the pipe is full: sixty lines of 200 bytes are more than it holds"
    text = read(pipe, until='"status": 201' if kind == "granian" else "status=201", times=60)
    assert "log_lines_dropped" not in text


def _has_room(here: Installation) -> bool:
    writer = os.open(here.folder / "pipe", os.O_WRONLY | os.O_NONBLOCK)
    try:
        return bool(select.select([], [writer], [], 0)[1])
    finally:
        os.close(writer)


def read(pipe: int, *, until: str, times: int = 1) -> str:
    """Read from the pipe until something was in it so many times."""
    text, limit = "", time.monotonic() + 60
    while text.count(until) < times or not text.endswith("\n"):
        assert time.monotonic() < limit, text
        with contextlib.suppress(BlockingIOError):
            text += os.read(pipe, 65536).decode()
        time.sleep(0.01)
    return text


def test_dropped_lines_are_counted(here: Installation, key: str, pipe: int) -> None:
    """The log says how many lines were dropped, at the place where they are missing."""
    (server,) = here.start("granian", output=">/dev/null 2>pipe")
    for _ in range(2):
        ask(server, "/v1/user/profile", times=handlers.BUFFERED_LINES + 200)
        text = read(pipe, until='"event": "request"', times=handlers.BUFFERED_LINES)
        ask(server, "/v1/user/current")  # for which there is room again
        text += read(pipe, until='"/v1/user/current"')
        told = json.loads(text.splitlines()[-2])
        assert (told["event"], told["level"]) == ("log_lines_dropped", "warning")
        assert told["count"] + text.count('"/v1/user/profile"') == handlers.BUFFERED_LINES + 200


def ask(server: Server, path: str, *, times: int = 1) -> None:
    """Ask without a right key, which leaves a line as well."""
    with contextlib.closing(server.keep()) as connection:
        for _ in range(times):
            connection.request("GET", path, headers={"X-API-Key": "ak_wrong"})
            connection.getresponse().read()


@pytest.mark.parametrize(("kind", "end"), [("flask", signal.SIGINT), ("granian", signal.SIGTERM)])
def test_stop_with_an_unread_pipe(here: Installation, key: str, pipe: int, kind: str, end: signal.Signals) -> None:
    """A log pipe that no process reads does not delay the end of the server."""
    (server,) = here.start(kind, output=">pipe 2>pipe")
    assert_serves(server, key, 60)
    server.process.send_signal(end)
    assert server.process.wait(60) == 0


@pytest.mark.parametrize("output", [">/dev/full 2>/dev/full", ">&- 2>&-"])
def test_full_or_closed_log(here: Installation, key: str, output: str) -> None:
    """A log that is full or closed stops neither the start nor an answer."""
    (server,) = here.start("production", output=output)  # there is no administrator: it has something to say
    assert_serves(server, key, 20)
    assert server.call("GET", "/healthz").status == 200


def test_database_is_made_without_a_log(here: Installation) -> None:
    """The database is created even when nothing can be logged."""
    (server,) = here.start("production", output=">/dev/full 2>/dev/full")
    assert server.call("GET", "/readyz").status == 200


def test_log_reader_that_ends(here: Installation, key: str, pipe: int) -> None:
    """The server goes on answering when the reader of its log has ended."""
    (server,) = here.start("granian", output=">pipe 2>pipe")
    os.close(pipe)
    assert_serves(server, key, 20)
