"""PgBouncer in front of a Postgres: a real one, on 127.0.0.1."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from psycopg.conninfo import conninfo_to_dict

from support.skips import unavailable

START_SECONDS = 10
CONFIGURATION = """
[databases]
* = {target}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
max_client_conn = 200
"""


@contextlib.contextmanager
def pgbouncer(url: str, *, mode: str = "transaction", size: int = 4, port: int | None = None) -> Iterator[str]:
    """Run PgBouncer in front of the Postgres at `url`, with `size` connections to it; yield the url through it.

    All clients become the user of `url`.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if not program:
        unavailable("pgbouncer")
    given = conninfo_to_dict(url)
    database = given.pop("dbname")
    port = port or _free_port()
    with TemporaryDirectory(prefix="enrol-pgbouncer-") as folder:
        Path(folder).chmod(0o755)
        settings = Path(folder) / "pgbouncer.ini"
        target = " ".join(f"{name}='{value}'" for name, value in given.items())
        settings.write_text(CONFIGURATION.format(target=target, port=port, mode=mode, size=size))
        log = (Path(folder) / "log").open("wb")
        process = subprocess.Popen([program, str(settings)], stdout=log, stderr=log, user=_user(given.get("host")))
        try:
            _wait_until_it_listens(process, port, Path(log.name))
            yield f"postgresql://{given['user']}@127.0.0.1:{port}/{database}"
        finally:
            process.kill()
            process.wait()
            log.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _user(host: object) -> int | None:
    """Return the user to run as: PgBouncer refuses root, and the socket of a Postgres may be its user's alone."""
    if os.geteuid() != 0:
        return None
    return os.stat(str(host)).st_uid if str(host).startswith("/") else 65534  # nobody


def _wait_until_it_listens(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    limit = time.monotonic() + START_SECONDS
    while time.monotonic() < limit:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.01)
    raise AssertionError(f"no pgbouncer in {START_SECONDS} s: {log.read_text()}")


@pytest.fixture
def pooled_url(emptied_postgres: Callable[[], str]) -> Iterator[str]:
    """The url of the database through a PgBouncer of its own."""
    with pgbouncer(emptied_postgres()) as url:
        yield url
