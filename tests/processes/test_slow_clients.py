"""Clients that stall delay no other request: through the proxy of OPERATIONS.md, and 50 of them without it."""

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator

import pytest

from support.application import app_on
from support.installations import Installation, installed
from support.nginx import HOST, proxied
from support.people import make_key
from support.servers import Server
from users.roles import Permission

pytestmark = pytest.mark.xdist_group("slow_clients")  # they share servers, which one worker of xdist starts

WITHOUT_PROXY = 50
WITH_PROXY = 200  # more than the threads of two workers


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation as OPERATIONS.md has it in production."""
    given = {"ENROL_TRUSTED_PROXIES": "1", "ENROL_PUBLIC_URL": f"https://{HOST}"}
    with installed(tmp_path_factory.mktemp("slow") / "enrol", given) as made:
        yield made


@pytest.fixture(scope="module")
def direct(here: Installation) -> Server:
    """The production server."""
    return here.start("production")[0]


@pytest.fixture(scope="module")
def behind_nginx(direct: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The production server behind the nginx of OPERATIONS.md."""
    with proxied(tmp_path_factory.mktemp("proxied") / "nginx", direct.port) as server:
        yield server


@pytest.fixture(scope="module")
def key(here: Installation, direct: Server) -> str:
    """A key that may create users."""
    with app_on(here) as app:
        return make_key(app, Permission.USERS_CREATE)


def head(line: str, *headers: str) -> bytes:
    """Return the head of a request."""
    return "\r\n".join([f"{line} HTTP/1.1", f"Host: {HOST}", *headers, "", ""]).encode()


def slow_header(_key: str) -> bytes:
    """Return half a head."""
    return head("POST /v1/user/", "Content-Length: 200", "X-API-K")[:-4]


def slow_body(key: str) -> bytes:
    """Return a head with a valid key, and the beginning of the body."""
    headers = (f"X-API-Key: {key}", "Content-Type: application/json", "Content-Length: 200")
    return head("POST /v1/user/", *headers) + b'{"email": '


def slow_form(_key: str) -> bytes:
    """Return the beginning of a form, as any stranger can send it."""
    headers = ("Content-Type: application/x-www-form-urlencoded", "Content-Length: 200")
    return head("POST /admin/login", *headers) + b"email="


def slow_reader(_key: str) -> bytes:
    """Return more questions than the answers to them fit into all buffers on the way."""
    return head("GET /static/app.css") * 100


Stall = Callable[[str], bytes]
STALLS: tuple[Stall, ...] = (slow_header, slow_body, slow_form, slow_reader)


@contextlib.contextmanager
def stalled(server: Server, content: bytes, count: int) -> Iterator[list[socket.socket]]:
    """Yield connections that send `content` and then neither send nor read."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(server.connect()) for _ in range(count)]
        for one in sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.setblocking(False)
            with contextlib.suppress(OSError):  # the rest of what a slow reader asks: the way is full
                one.send(content)
        time.sleep(0.5)
        yield sockets


def assert_serves(server: Server, key: str) -> None:
    """Hold `server` to a second for a normal request, which other tests' load may break twice."""
    me = head("GET /v1/user/me", f"X-API-Key: {key}")
    limit = time.monotonic() + 60
    while server.send(me).seconds > 0.2 and time.monotonic() < limit:
        pass  # what slow readers ask is work as well, which has an end
    replies = [server.send(me) for _ in range(20)]
    assert {reply.status for reply in replies} == {404}  # the key has no owner
    assert sorted(reply.seconds for reply in replies)[-3] < 1


@pytest.mark.parametrize("stall", STALLS)
def test_fifty_stalled_clients(direct: Server, key: str, stall: Stall) -> None:
    """Fifty clients that stall delay no other request."""
    with stalled(direct, stall(key), WITHOUT_PROXY) as sockets:
        assert_serves(direct, key)
        assert_still_stalled(sockets, stall)


@pytest.mark.parametrize("stall", STALLS)
def test_stalled_clients_behind_the_proxy(behind_nginx: Server, key: str, stall: Stall) -> None:
    """Behind the proxy, any number of clients that stall delay no other request."""
    # What a reader asked is answered all the same: from so many it would be load, and no stalling.
    count = WITHOUT_PROXY if stall is slow_reader else WITH_PROXY
    with stalled(behind_nginx, stall(key), count) as sockets:
        assert_serves(behind_nginx, key)
        assert_still_stalled(sockets, stall)


def assert_still_stalled(sockets: list[socket.socket], stall: Stall) -> None:
    """Assert that stalled senders got no answer; the answers of stalled readers wait for them."""
    assert sum(map(has_answer, sockets)) == (len(sockets) if stall is slow_reader else 0)


def has_answer(one: socket.socket) -> bool:
    """Tell whether there is a byte of an answer, or its end. What belongs to TLS 1.3 itself is none."""
    try:
        one.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    return True


def test_stall_without_a_key(direct: Server, key: str) -> None:
    """A caller without a key who stalls inside a body is refused and holds no thread."""
    content = slow_body("ak_wrong")
    with stalled(direct, content, 2 * WITH_PROXY) as sockets:
        assert_serves(direct, key)
        assert len(select.select(sockets, [], [], 1)[0]) == len(sockets)
    reply = direct.send(slow_body(""))
    assert (reply.status, reply.headers["Connection"]) == (401, "close")
