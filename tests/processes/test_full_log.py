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
from users import logs
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
    """A key that may create users, in a database of its own."""
    with app_on(here) as app:
        return make_key(app, Permission.USERS_CREATE)


@pytest.fixture
def pipe(here: Installation) -> Iterator[int]:
    """The reading end of a pipe named `pipe`, which nobody reads but the test."""
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
def test_a_pipe_that_nobody_reads_holds_up_no_answer_and_its_lines_come_later(
    here: Installation, key: str, pipe: int, kind: str
) -> None:
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
    text, limit = "", time.monotonic() + 10
    while text.count(until) < times or not text.endswith("\n"):
        assert time.monotonic() < limit, text
        with contextlib.suppress(BlockingIOError):
            text += os.read(pipe, 65536).decode()
        time.sleep(0.01)
    return text


def test_lines_that_had_to_be_dropped_are_counted_where_they_are_missing(
    here: Installation, key: str, pipe: int
) -> None:
    (server,) = here.start("granian", output=">/dev/null 2>pipe")
    for _ in range(2):
        ask(server, "/v1/user/profile", times=logs.BUFFERED_LINES + 200)
        text = read(pipe, until='"event": "request"', times=logs.BUFFERED_LINES)
        ask(server, "/v1/user/current")  # for which there is room again
        text += read(pipe, until='"/v1/user/current"')
        told = json.loads(text.splitlines()[-2])
        assert (told["event"], told["level"]) == ("log_lines_dropped", "warning")
        assert told["count"] + text.count('"/v1/user/profile"') == logs.BUFFERED_LINES + 200


def ask(server: Server, path: str, *, times: int = 1) -> None:
    """Ask without a right key, which leaves a line as well."""
    with contextlib.closing(server.keep()) as connection:
        for _ in range(times):
            connection.request("GET", path, headers={"X-API-Key": "ak_wrong"})
            connection.getresponse().read()


@pytest.mark.parametrize(("kind", "end"), [("flask", signal.SIGINT), ("granian", signal.SIGTERM)])
def test_a_pipe_that_nobody_reads_does_not_hold_up_the_end(
    here: Installation, key: str, pipe: int, kind: str, end: signal.Signals
) -> None:
    (server,) = here.start(kind, output=">pipe 2>pipe")
    assert_serves(server, key, 60)
    server.process.send_signal(end)
    assert server.process.wait(10) == 0


@pytest.mark.parametrize("output", [">/dev/full 2>/dev/full", ">&- 2>&-"])
def test_a_log_that_is_full_or_closed_stops_neither_the_start_nor_an_answer(
    here: Installation, key: str, output: str
) -> None:
    (server,) = here.start("production", output=output)  # there is no administrator: it has something to say
    assert_serves(server, key, 20)
    assert server.call("GET", "/healthz").status == 200


def test_a_database_is_made_where_nothing_can_be_said(here: Installation) -> None:
    (server,) = here.start("production", output=">/dev/full 2>/dev/full")
    assert server.call("GET", "/readyz").status == 200


@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_that_goes_away_stops_no_answer(here: Installation, key: str, pipe: int, kind: str) -> None:
    (server,) = here.start(kind, output=">pipe 2>pipe")
    os.close(pipe)
    assert_serves(server, key, 20)
