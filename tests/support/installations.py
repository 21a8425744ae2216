"""A copy of the application in another folder, and the commands and servers that run there."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support.servers import BIN, REPOSITORY, START_SECONDS, Server

CHEAP_HASH = {"ENROL_PASSWORD_HASH": "m=8,t=1,p=1", "ENROL_PASSWORD_HASH_UNSAFE": "1"}


def production_line(source: Path = REPOSITORY) -> str:
    """Return the command that the OPERATIONS.md of `source` gives for production."""
    page = (source / "users" / "OPERATIONS.md").read_text(encoding="utf-8")
    return next(line for line in page.splitlines() if line.startswith(".venv/bin/granian"))


class Installation:
    """A copy of the application of `source` in `folder`, with its own settings and `instance/`."""

    def __init__(self, folder: Path, source: Path = REPOSITORY, **settings: str) -> None:
        self.folder = folder
        self.instance = folder / "instance"
        self.instance.mkdir(parents=True)
        # A copy: Flask resolves links to find the application's folder, and with it instance/.
        (folder / "app.py").write_bytes((source / "app.py").read_bytes())
        for name in ("users", "templates", "static"):
            (folder / name).symlink_to(source / name)
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
        program, *arguments, target = production_line(self.folder).split()
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
        """End every server, even if ending one of them fails."""
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
def installed(
    folder: Path, settings: Mapping[str, str] | None = None, source: Path = REPOSITORY
) -> Iterator[Installation]:
    """Yield a copy of the application in `folder`; the servers started there are ended at the end."""
    made = Installation(folder, source, **(settings or {}))
    try:
        yield made
    finally:
        made.end()
