"""The nginx of OPERATIONS.md in front of servers, with its ports and files exchanged."""

import contextlib
import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from support.documents import OPERATIONS, blocks
from support.servers import ANSWER_SECONDS, START_SECONDS, Server
from support.skips import unavailable

HOST = "users.example.com"


class Secure(Server):
    """A server behind a proxy that speaks TLS."""

    context: ssl.SSLContext
    plain_port: int  # where it redirects to https

    def connect(self) -> socket.socket:
        """Return a new connection, encrypted."""
        return self.context.wrap_socket(super().connect(), server_hostname=HOST)

    def keep(self) -> http.client.HTTPConnection:
        """Return an encrypted connection for many requests."""
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS, context=self.context)


@contextlib.contextmanager
def proxied(folder: Path, *ports: int, also: str = "") -> Iterator[Secure]:
    """Run nginx in front of the servers on these ports, with its files in a new `folder`, and yield it.

    `also` are directives for its location.
    """
    folder.mkdir()
    port, plain_port = free_port(), free_port()
    log = folder / "log"
    (folder / "nginx.conf").write_text(configuration(folder, port, plain_port, *ports, also=also))
    make_certificate(folder)
    with open(log, "wb") as file:
        line = [program(), "-e", str(log), "-p", str(folder), "-c", str(folder / "nginx.conf")]
        process = subprocess.Popen(line, stdout=file, stderr=file, start_new_session=True)
    server = Secure(process, port, log)
    server.plain_port = plain_port
    server.context = ssl.create_default_context(cafile=str(folder / f"{HOST}.pem"))
    try:
        _wait_until_it_listens(server)
        yield server
    finally:
        server.end()


def program() -> str:
    """Return the path of nginx."""
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    return found or unavailable("nginx")


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port


def configuration(folder: Path, port: int, plain_port: int, *servers: int, also: str = "") -> str:
    """Return the site of OPERATIONS.md between what Debian's nginx.conf says: one process, gzip on, and every log."""
    site = blocks(OPERATIONS, "nginx")[0]
    for shown, ours in (
        (r"listen \[::\]:.*;\n", ""),  # not every machine has IPv6
        (r"listen 80;", f"listen 127.0.0.1:{plain_port};"),
        (r"listen 443", f"listen 127.0.0.1:{port}"),
        (r"/etc/ssl/", f"{folder}/"),
        (r"location / {", f"location / {{\n{also}"),
        (r"server 127.0.0.1:8000(.*)", "\n".join(rf"server 127.0.0.1:{one}\1" for one in servers)),
    ):
        site, found = re.subn(shown, ours, site)
        assert found, shown
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    user = "user root;" if os.geteuid() == 0 else ""  # no other user may enter a test's folder
    http = f"access_log {folder}/log;\ngzip on;\n{paths}{site}"
    return f"daemon off;\npid {folder}/pid;\n{user}\nevents {{}}\nhttp {{\n{http}}}\n"


def make_certificate(folder: Path) -> None:
    """Sign a certificate for HOST by itself, under the names that OPERATIONS.md has."""
    line = f"openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj /CN={HOST}"
    files = ["-out", f"{HOST}.pem", "-keyout", f"{HOST}.key", "-addext", f"subjectAltName=DNS:{HOST},IP:127.0.0.1"]
    subprocess.run([*line.split(), *files], cwd=folder, check=True, capture_output=True)


def _wait_until_it_listens(server: Server) -> None:
    """Return at the first connection."""
    limit = time.monotonic() + START_SECONDS
    while True:
        assert server.process.poll() is None, server.log()
        assert time.monotonic() < limit, server.log()
        with contextlib.suppress(OSError), server.connect():
            return
        time.sleep(0.02)
