"""Cheap clients, so that the server is measured: one kept connection each, requests made before."""

import json
import selectors
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

HOST = "127.0.0.1"


@dataclass
class Tally:
    """The answers to some clients in `seconds`: the count of each status, and the time of each answer in seconds."""

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
        heard = b""
        while not (answer := answered(heard)):
            heard += self._receive()
        if b"connection: close" in heard.partition(b"\r\n\r\n")[0].lower():
            self.close()
        return answer

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


def answered(heard: bytes) -> tuple[int, bytes] | None:
    """Return the status and the body of an answer, None until all of it is there."""
    head, end, body = heard.partition(b"\r\n\r\n")
    if not end:
        return None
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return (int(head[9:12]), body) if len(body) == length else None


def create(key: str) -> bytes:
    """Return the request that creates a new user."""
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
    """Send each of `requests` on its own connection, all at the same moment, and return the answers.

    One thread serves all connections: hundreds of them would take the time they measure.
    """
    selector = selectors.DefaultSelector()
    waiting = [socket.create_connection((HOST, port), timeout=60) for _ in requests]
    heard: dict[socket.socket, bytes] = dict.fromkeys(waiting, b"")
    tally = Tally(0)
    begin = time.monotonic()
    for connection, request in zip(waiting, requests, strict=True):
        connection.sendall(request)
        selector.register(connection, selectors.EVENT_READ)
    while heard:
        for key, _ in selector.select():
            connection = cast(socket.socket, key.fileobj)
            received = connection.recv(65536)
            assert received, "the server hung up in the middle of an answer"
            heard[connection] += received
            answer = answered(heard[connection])
            if answer:
                tally.times.append((answer[0], time.monotonic() - begin))
                tally.statuses[answer[0]] += 1
                selector.unregister(connection)
                connection.close()
                del heard[connection]
    tally.seconds = time.monotonic() - begin
    return tally


def run_all(works: list[Callable[[], None]]) -> None:
    """Run everything at the same time and return when all is done."""
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
