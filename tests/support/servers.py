"""Enrol as real processes, and the wire to a Postgres that can be cut, for the tests that need them.

Everything listens on 127.0.0.1 alone, works in a copy of the application with an `instance/` of its own, waits a
bounded time and is ended by its id, also when a test fails.
"""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict

REPOSITORY = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
KINDS = ("flask", "granian")  # and "production": granian with as many workers as README says
START_SECONDS = 20  # a start takes one second; more when every core is busy with other tests
ANSWER_SECONDS = 15
HOLD_SECONDS = 15
CHEAP_HASH = {"ENROL_PASSWORD_HASH": "m=8,t=1,p=1", "ENROL_PASSWORD_HASH_UNSAFE": "1"}


def production_line() -> str:
    """Return the command that README gives for production."""
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    return next(line for line in readme.splitlines() if line.startswith(".venv/bin/granian"))


@dataclass(frozen=True)
class Reply:
    """What a server answered, and how long it took."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the error envelope."""
        return str(self.json["error"]["code"])


@dataclass
class Server:
    """One server process, the production server or `flask run`."""

    process: subprocess.Popen[bytes]
    port: int
    log_file: Path
    seconds_to_first_answer: float = 0

    def call(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request on a connection of its own."""
        headers = {**(headers or {}), **({"X-API-Key": key} if key else {})}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body).encode()
        start = time.monotonic()
        with contextlib.closing(self.keep()) as connection:
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            return Reply(answer.status, answer.headers, answer.read(), time.monotonic() - start)

    def keep(self) -> http.client.HTTPConnection:
        """Return a connection for many requests."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)

    def send(self, raw: bytes) -> Reply:
        """Send bytes as they are and read one answer."""
        start = time.monotonic()
        with self.connect() as connection:
            connection.sendall(raw)
            answer = http.client.HTTPResponse(connection, method=raw.split(b" ", 1)[0].decode())
            answer.begin()
            return Reply(answer.status, answer.headers, answer.read(), time.monotonic() - start)

    def connect(self) -> socket.socket:
        """Return a new connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_SECONDS)

    def log(self) -> str:
        """Return what the process has written, on stdout and stderr."""
        return self.log_file.read_text(encoding="utf-8")

    def memory(self, what: str = "VmRSS") -> float:
        """Return what its processes hold in memory in MiB; with "VmHWM", the most that each ever held."""
        pids = subprocess.run(["pgrep", "-g", str(self.process.pid)], capture_output=True, text=True, check=True).stdout
        sizes = [Path(f"/proc/{pid}/status").read_text().partition(f"{what}:")[2].split()[0] for pid in pids.split()]
        return sum(map(int, sizes)) / 1024

    def wait_until_it_answers(self) -> None:
        """Return at the first answer, which needs no database: there is no key in the request."""
        start = time.monotonic()
        while time.monotonic() - start < START_SECONDS:
            assert self.process.poll() is None, self.log()
            with contextlib.suppress(OSError, http.client.HTTPException):
                assert self.call("GET", "/v1/user/me").status == 401, self.log()
                return
            time.sleep(0.02)
        raise AssertionError(f"no answer in {START_SECONDS} s: {self.log()}")

    def wait_until_started(self, workers: int) -> None:
        """Return when so many workers of the production server were started, those that are gone included."""
        limit = time.monotonic() + START_SECONDS
        while self.log().count("Started worker") < workers:
            assert time.monotonic() < limit, self.log()
            time.sleep(0.02)
        # A worker listens before it serves, and what it is told before that is lost: SIGTERM too. The kernel deals
        # connections out to all who listen, so that one who does not serve yet holds up one of these.
        for _ in range(32):
            self.call("GET", "/healthz")

    def end(self) -> None:
        """End the process and those it started: they are a process group of their own."""
        for number, seconds in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        assert self.process.returncode is not None


class Tree:
    """A copy of the application that runs in `folder`, with settings and an `instance/` of its own."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.instance = folder / "instance"
        self.instance.mkdir(parents=True)
        # A copy: Flask resolves links to find the application's folder, and with it instance/.
        (folder / "app.py").write_bytes((REPOSITORY / "app.py").read_bytes())
        for name in ("users", "templates", "static"):
            (folder / name).symlink_to(REPOSITORY / name)
        # The last would have every start of a server compile all of it again.
        dropped = ("FLASK_", "GRANIAN_", "PYTHONDONTWRITEBYTECODE")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        self.environment = {**kept, **CHEAP_HASH, **settings}
        self._servers: list[Server] = []

    def command(self, kind: str, *options: str) -> tuple[list[str], int]:
        """Return the command line of a server of this kind, and its port."""
        with socket.create_server(("127.0.0.1", 0)) as found:
            port = found.getsockname()[1]
        if kind == "flask":
            return [str(BIN / "flask"), "run", "--port", str(port), *options], port
        program, *arguments, target = production_line().split()
        if kind == "granian":  # one worker of it, which does for most tests
            options = ("--workers", "1", *options)
        return [str(BIN / Path(program).name), *arguments, "--port", str(port), *options, target], port

    def start(self, *kinds: str, options: tuple[str, ...] = (), output: str = "") -> list[Server]:
        """Start a server of each of these kinds, all at the same time, and return when all answer.

        `output` is a shell's redirection, for one that must not write to a file of its own.
        """
        start = time.monotonic()
        new = [self._launch(*self.command(kind, *options), output) for kind in kinds]
        for server in new:
            server.wait_until_it_answers()
            server.seconds_to_first_answer = time.monotonic() - start
        return new

    def launch(self, line: list[str], port: int) -> Server:
        """Start a server by its command line and return when it answers."""
        server = self._launch(line, port)
        server.wait_until_it_answers()
        return server

    def _launch(self, line: list[str], port: int, output: str = "") -> Server:
        log_file = self.folder / f"{Path(line[0]).name}-{port}.log"
        if output:
            line = ["sh", "-c", f'exec "$@" {output}', "sh", *line]
        with open(log_file, "wb") as log:
            process = subprocess.Popen(
                line,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        server = Server(process, port, log_file)
        self._servers.append(server)
        return server

    def end(self) -> None:
        """End every server, whatever happens to one of them."""
        with contextlib.ExitStack() as stack:
            for server in self._servers:
                stack.callback(server.end)

    def flask(self, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run `flask …` to its end."""
        return self.run([str(BIN / "flask"), *arguments], **settings)

    def run_together(self, lines: list[list[str]]) -> list["subprocess.CompletedProcess[str]"]:
        """Run commands that end by themselves at the same time."""
        with ThreadPoolExecutor(len(lines)) as pool:
            return list(pool.map(self.run, lines))

    def run(self, line: list[str], **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run a command that ends by itself."""
        return subprocess.run(
            line,
            cwd=self.folder,
            env={**self.environment, **settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )


@contextlib.contextmanager
def tree(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[Tree]:
    """Yield a copy of the application in `folder`; the servers started there are ended at the end."""
    made = Tree(folder, **(settings or {}))
    try:
        yield made
    finally:
        made.end()


class Wire:
    """A port of 127.0.0.1 that leads to a Postgres, and can be cut.

    `at_commit` says what happens to the next COMMIT: "lose" it on its way, "lose answer" on the way back, or "hold"
    it for longer than anybody should wait.
    """

    _COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"  # the protocol's simple query

    def __init__(self, address: str) -> None:
        parts = conninfo_to_dict(address)
        host, port = str(parts.get("host") or "localhost"), int(parts.get("port") or 5432)
        self._target: Any = f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))  # bound but deaf until `open`: connections are refused
        login = f"{parts.get('user', '')}:{parts.get('password', '')}".rstrip(":")
        # Not encrypted, so that the COMMIT can be seen.
        self.address = (
            f"postgresql://{login}@127.0.0.1:{self._listener.getsockname()[1]}/{parts['dbname']}"
            "?sslmode=disable&gssencmode=disable"
        )
        self.at_commit = ""
        self._sockets: list[socket.socket] = []
        self._unheard: socket.socket | None = None  # whose next answer is lost, and the connection with it

    def open(self) -> None:
        """Let connections through from now on."""
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End every connection that is open now."""
        while self._sockets:
            self._close(self._sockets.pop())

    def close(self) -> None:
        """End all connections and refuse new ones."""
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
