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
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
KINDS = ("flask", "granian")  # and "production": granian with the line of OPERATIONS.md
START_SECONDS = 60  # a start takes one second; more when every core is busy with other tests
ANSWER_SECONDS = 15


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
        """Send one request on a new connection."""
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
        # A worker listens before it serves, and loses the signals and requests of that time. The kernel gives
        # connections to all listening workers, so a worker that does not serve yet delays one of these requests.
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
