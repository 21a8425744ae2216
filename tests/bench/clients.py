"""Clients that cost little, so that what is measured is the server: one kept connection each, bytes made before."""

import json
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

HOST = "127.0.0.1"


@dataclass
class Tally:
    """What some clients were told in `seconds`: how often each status, and how long each answer took, in seconds."""

    seconds: float
    statuses: Counter[int] = field(default_factory=Counter)
    times: list[tuple[int, float]] = field(default_factory=list)

    def rate(self, status: int) -> float:
        """Return how many answers of this status came in a second."""
        return self.statuses[status] / self.seconds

    def milliseconds(self, share: float, status: int | None = None) -> float:
        """Return the time within which this share of the answers (of `status`) came."""
        times = sorted(seconds for told, seconds in self.times if status in (None, told))
        return 1000 * times[min(len(times) - 1, int(share * len(times)))] if times else 0.0


class Connection:
    """One connection of HTTP/1.1 that is kept, and made anew when the server hangs up."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._socket: socket.socket | None = None

    def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a whole request and return the status and the body of its answer."""
        if self._socket is None:
            self._socket = socket.create_connection((HOST, self.port), timeout=60)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._receive()
        head, _, body = answer.partition(b"\r\n\r\n")
        headers = head.lower()
        length = int(headers.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += self._receive()
        if b"connection: close" in headers:
            self.close()
        return int(head[9:12]), body

    def _receive(self) -> bytes:
        assert self._socket
        received = self._socket.recv(65536)
        if not received:
            raise ConnectionError("the server hung up in the middle of an answer")
        return received

    def close(self) -> None:
        """Hang up."""
        if self._socket:
            self._socket.close()
        self._socket = None


def create(key: str) -> bytes:
    """Return the request that creates a user nobody has created before."""
    body = {"email": f"{uuid.uuid4().hex}@example.com", "password": "three random words", "first_name": "Ada"}
    content = json.dumps(body).encode()
    head = f"POST /v1/user/ HTTP/1.1\r\nHost: {HOST}\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(content) + content


def get(path: str, key: str) -> bytes:
    """Return the request for `path`."""
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nX-API-Key: {key}\r\n\r\n".encode()


def ask_for(seconds: float, port: int, make: Callable[[], bytes], *, clients: int = 8, pause: float = 0) -> Tally:
    """Let `clients` ask one request after another, `pause` seconds apart, for `seconds`, and return what they heard."""
    start = time.monotonic()
    tally = Tally(seconds)

    def go() -> None:
        connection = Connection(port)
        while (begin := time.monotonic()) < start + seconds:
            status, _ = connection.ask(make())
            end = time.monotonic()
            tally.times.append((status, end - begin))
            tally.statuses[status] += end <= start + seconds
            time.sleep(pause)
        connection.close()

    run_all([go] * clients)
    return tally


def all_at_once(port: int, requests: list[bytes]) -> Tally:
    """Send each of `requests` on a connection of its own, all at the same moment, and return what they heard."""
    gate = threading.Barrier(len(requests))
    tally = Tally(0)

    def go(request: bytes) -> None:
        connection = Connection(port)
        gate.wait()
        begin = time.monotonic()
        status, _ = connection.ask(request)
        tally.times.append((status, time.monotonic() - begin))
        tally.statuses[status] += 1
        connection.close()

    begin = time.monotonic()
    run_all([lambda request=request: go(request) for request in requests])  # type: ignore[misc]
    tally.seconds = time.monotonic() - begin
    return tally


def run_all(works: list[Callable[[], None]]) -> None:
    """Run everything at the same time and return when all is done."""
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
