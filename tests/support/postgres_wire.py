"""A connection to Postgres that a test can cut."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from app import create_app
from support.api import Api
from support.application import CHEAP, dispose
from support.people import make_key
from users.roles import Permission

HOLD_SECONDS = 15


class Wire:
    """A port of 127.0.0.1 that leads to a Postgres, and can be cut.

    `at_commit` says what happens to the next COMMIT: "lose" it on its way, "lose answer" on the way back, or "hold"
    it for longer than a client should wait.
    """

    _COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"  # the protocol's simple query

    def __init__(self, url: str) -> None:
        parts = conninfo_to_dict(url)
        host, port = str(parts.get("host") or "localhost"), int(parts.get("port") or 5432)
        self._target: Any = f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))  # bound but deaf until `open`: connections are refused
        login = f"{parts.get('user', '')}:{parts.get('password', '')}".rstrip(":")
        # Not encrypted, so that the COMMIT can be seen.
        self.url = (
            f"postgresql://{login}@127.0.0.1:{self._listener.getsockname()[1]}/{parts['dbname']}"
            "?sslmode=disable&gssencmode=disable"
        )
        self.at_commit = ""
        self._thawed = threading.Event()
        self._thawed.set()
        self._sockets: list[socket.socket] = []
        self._unheard: socket.socket | None = None  # whose next answer is lost, and the connection with it

    def open(self) -> None:
        """Let connections through from now on."""
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        """Let nothing through any more, and close nothing: as in front of a frozen server."""
        self._thawed.clear()

    def cut(self) -> None:
        """End every connection that is open now."""
        while self._sockets:
            self._close(self._sockets.pop())

    def close(self) -> None:
        """End all connections and refuse new ones."""
        self._thawed.set()
        self._close(self._listener)
        self.cut()

    @staticmethod
    def _close(end: socket.socket) -> None:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in recv
        end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener is closed
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX if isinstance(self._target, str) else socket.AF_INET)
                server.connect(self._target)
                self._sockets += [client, server]
                for one, other, is_client in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pump, args=(one, other, is_client), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, from_client: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._thawed.wait()
                if from_client and self.at_commit and self._COMMIT in data:
                    self._interfere(data, source, sink)
                    return
                if source is self._unheard:
                    break
                sink.sendall(data)
        self._close(sink)

    def _interfere(self, data: bytes, client: socket.socket, server: socket.socket) -> None:
        mode, self.at_commit = self.at_commit, ""
        if mode == "hold":
            time.sleep(HOLD_SECONDS)
        if mode == "lose answer":
            self._unheard = server
            server.sendall(data)
            return
        self._close(server)
        self._close(client)


@pytest.fixture
def wire(emptied_postgres: Callable[[], str]) -> Iterator[Wire]:
    """The connection to Postgres, which can be cut."""
    made = Wire(emptied_postgres())
    made.open()
    yield made
    made.close()


@pytest.fixture
def wired_api(wire: Wire) -> Iterator[Api]:
    """A caller of an application that reaches Postgres over the wire."""
    app = create_app({**CHEAP, "DATABASE_URL": wire.url, "TESTING": True})
    yield Api(app.test_client(), make_key(app, Permission.USERS_CREATE))
    dispose(app)
