"""The production server of OPERATIONS.md without a proxy: HTTP/1, bounded memory, dead workers replaced."""

import contextlib
import os
import re
import resource
import select
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.installations import Installation, installed
from support.servers import START_SECONDS, Server
from support.skips import unavailable

pytestmark = pytest.mark.xdist_group("production_server")  # they share a server, which one worker of xdist starts

WORKERS = 2
THREADS = 64  # of one worker
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113, section 3.4
SETTINGS, HEADERS, DATA, END_HEADERS = 4, 1, 0, 4
HEAD_BYTES = 32768
IDLE = 1800  # connections of the 2,048 that two workers hold: the kernel deals them out, but not evenly
CONNECTIONS = 300
# What CONNECTIONS unfinished heads of HEAD_BYTES may cost in MiB: twice what was sent, since a buffer grows by
# doubling, and some for the connections. Without a bound it was 140.
MOST_MEMORY = 40


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation; its servers are ended with the last test."""
    with installed(tmp_path_factory.mktemp("production") / "enrol") as made:
        yield made


def start(here: Installation) -> Server:
    """Start the production server with all its workers."""
    (server,) = here.start("production")
    server.wait_until_started(WORKERS)
    return server


@pytest.fixture(scope="module")
def server(here: Installation) -> Server:
    """A production server that the tests of strangers share: what one of them breaks, the next one finds."""
    return start(here)


@pytest.fixture
def mortal(here: Installation) -> Server:
    """A production server whose workers are killed."""
    return start(here)


def assert_serves(server: Server, probes: int = 20) -> None:
    """Require an answer to each probe. The kernel deals new connections out to all workers."""
    for _ in range(probes):
        assert server.call("GET", "/healthz").status == 200


def test_http2_is_refused(server: Server) -> None:
    for _ in range(10):  # so many that each worker gets some
        with server.connect() as connection:
            with contextlib.suppress(ConnectionError):  # it may hang up before it has read all
                connection.sendall(PREFACE + frame(SETTINGS) + unfinished_forms(THREADS + 6))
            assert everything(connection) == b""
    assert_serves(server)


def frame(kind: int, content: bytes = b"", flags: int = 0, stream: int = 0) -> bytes:
    """Return a frame of HTTP/2 (RFC 9113, section 4.1)."""
    return len(content).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + content


def unfinished_forms(count: int) -> bytes:
    """Return the beginnings of `count` forms, each on its own stream."""
    fields = {":method": "POST", ":path": "/admin/login", ":scheme": "http", ":authority": "127.0.0.1"}
    fields |= {"content-type": "application/x-www-form-urlencoded", "content-length": "200"}
    head = b"".join(b"\0" + literal(name) + literal(value) for name, value in fields.items())
    return b"".join(
        frame(HEADERS, head, END_HEADERS, stream) + frame(DATA, b"email=a", 0, stream)
        for stream in range(1, 2 * count, 2)
    )


def literal(text: str) -> bytes:
    """Return a string of HPACK that is not compressed (RFC 7541, section 5.2)."""
    return bytes([len(text)]) + text.encode()


def everything(connection: socket.socket) -> bytes:
    """Return the bytes until the server closes the connection, which it must do."""
    content = b""
    with contextlib.suppress(ConnectionResetError):  # it had not read all that was sent
        while more := connection.recv(65536):
            content += more
    return content


def test_idle_connections(server: Server) -> None:
    """Clients that keep their connections, as pools do, leave room for others."""
    raise_limit_of_files(2 * IDLE)
    before = server.memory()
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(server.connect()) for _ in range(IDLE)]
        for one in sockets:
            one.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        for one in sockets:
            assert one.recv(12) == b"HTTP/1.1 200"
        assert_serves(server)
        assert server.memory() - before < MOST_MEMORY


def raise_limit_of_files(count: int) -> None:
    """Let this process open so many files and connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count:
        unavailable(f"a limit of {count} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))


def test_abandoned_forms(server: Server) -> None:
    """Forms whose senders close the connection give their threads back."""
    start = b"POST /admin/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(2 * WORKERS * THREADS):
            stack.enter_context(server.connect()).sendall(start + b"Content-Length: 200\r\n\r\nemail=a")
        time.sleep(0.5)
    assert_serves(server)


@pytest.mark.parametrize("size", [HEAD_BYTES - 100, 10 * HEAD_BYTES], ids=["within the bound", "beyond it"])
def test_endless_headers(server: Server, size: int) -> None:
    """Requests whose headers never end take a bounded amount of memory."""
    assert_serves(server, 50)
    before = server.memory()
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(server.connect()) for _ in range(CONNECTIONS)]
        send_to_all(sockets, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Filling: ".ljust(size, b"x"))
        assert_serves(server)
        assert server.memory() - before < MOST_MEMORY
        assert len(select.select(sockets, [], [], 0)[0]) == (CONNECTIONS if size > HEAD_BYTES else 0)


def send_to_all(sockets: list[socket.socket], content: bytes) -> None:
    """Send `content` over each as far as it is taken, for five seconds at most."""
    left = dict.fromkeys(sockets, content)
    limit = time.monotonic() + 5
    for one in sockets:
        one.setblocking(False)
    while left and time.monotonic() < limit:
        for one in select.select([], list(left), [], 0.1)[1]:
            try:
                left[one] = left[one][one.send(left[one]) :]
            except ConnectionError:  # refused meanwhile
                left[one] = b""
            if not left[one]:
                del left[one]
    time.sleep(0.5)


def head(size: int, headers: int = 0) -> bytes:
    """Return a request of so many bytes, with `headers` more than Host and the one that fills it."""
    start = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X-More: 1\r\n" * headers + b"X-Filling: "
    return start.ljust(size - 4, b"x") + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (head(HEAD_BYTES), 200),
        (head(4 * HEAD_BYTES), 431),
        (head(4000, headers=98), 200),
        (head(4000, headers=99), 431),
        (head(4 * HEAD_BYTES).replace(b"/healthz", b"/" + b"x" * 3 * HEAD_BYTES), 431),
        (head(4000).replace(b"/healthz", b"/" + b"x" * (HEAD_BYTES - 5000)), 404),
        (head(100).replace(b"/healthz", b"/\0"), 400),
        (head(100).replace(b"X-Filling", b"X Filling"), 400),
        (b"hello\r\n\r\n", 400),
    ],
    ids=["largest", "larger", "100 headers", "101 headers", "path larger", "path", "NUL", "header", "no HTTP"],
)
def test_answers_of_the_server_itself(server: Server, request_: bytes, status: int) -> None:
    """Malformed requests, which the server answers itself, get the answers that the documentation lists."""
    reply = server.send(request_)
    assert reply.status == status
    assert (reply.body == b"") == (status in (400, 431))


def pids(server: Server) -> list[int]:
    """Return the processes of the workers, the last one that was started last."""
    return [int(pid) for pid in re.findall(r"Spawning worker-\d+ with PID: (\d+)", server.log())]


def kill(pid: int) -> None:
    """Kill a worker as a system without memory does, and wait until its last thread is gone, which ends its sockets."""
    os.kill(pid, signal.SIGKILL)
    limit = time.monotonic() + START_SECONDS
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < limit
        time.sleep(0.001)


def test_killed_worker(mortal: Server) -> None:
    """A killed worker is replaced, and the service answers meanwhile."""
    for started, victim in enumerate(pids(mortal), start=WORKERS + 1):
        kill(victim)
        for _ in range(40):
            assert_serves(mortal, 1)
            time.sleep(0.02)
        mortal.wait_until_started(started)
    assert len(pids(mortal)) == 2 * WORKERS
    assert_serves(mortal)  # by the new ones: those of the start are gone
    mortal.process.send_signal(signal.SIGTERM)
    assert mortal.process.wait(START_SECONDS) == 0


def test_worker_killed_twice(mortal: Server) -> None:
    """A worker that dies again at once ends the service with a failure."""
    kill(pids(mortal)[0])
    limit = time.monotonic() + START_SECONDS
    while (
        len(pids(mortal)) == WORKERS
    ):  # until it is spawned, not until it has started, which may take longer than "at once"
        assert time.monotonic() < limit
        time.sleep(0.02)
    kill(pids(mortal)[-1])
    assert mortal.process.wait(START_SECONDS) == 1  # for which systemd's Restart=on-failure starts it again
