"""Large files to real servers: they are never in memory, and what is refused midway leaves nothing behind."""

import contextlib
import http.client
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.application import app_on
from support.import_jobs import PATH, upload, wait_until
from support.installations import Installation, installed
from support.people import make_key
from support.servers import Server
from users.roles import Permission

MIB = 1 << 20
LARGE = 40  # MiB
MOST_GROWTH = 12  # MiB; the longest piece that a server reads is part of it
LARGEST_FILE = 8 * MIB  # that the system lets the full server write

pytestmark = pytest.mark.xdist_group("large_files")  # they share a server, which one worker of xdist starts


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation that takes files as large as the one of these tests."""
    given = {"ENROL_IMPORT_MAX_BYTES": str(LARGE * MIB)}
    with installed(tmp_path_factory.mktemp("large") / "enrol", given) as made:
        yield made


@pytest.fixture(scope="module")
def server(here: Installation) -> Server:
    """The production server."""
    return here.start("granian")[0]


@pytest.fixture(scope="module")
def key(here: Installation, server: Server) -> str:
    """A key that may import."""
    with app_on(here) as app:
        return make_key(app, Permission.USERS_IMPORT)


def pieces(mebibytes: int) -> Iterator[bytes]:
    """Yield a file that has no rows in its first MiB: its check ends at once."""
    for _ in range(mebibytes):
        yield b"x" * MIB


def spooled(made: Installation) -> list[Path]:
    """Return the files in the spool that were uploaded."""
    return list((made.instance / "imports").glob("imp_*.file"))


@pytest.fixture(autouse=True)
def _earlier_imports_have_ended(here: Installation, server: Server) -> None:
    wait_until(lambda: server.call("GET", "/healthz") and not spooled(here))


def jobs(server: Server, key: str) -> int:
    """Return how many imports there are."""
    return len(server.call("GET", PATH, key=key).json)


def test_memory(server: Server, key: str) -> None:
    """A file of 40 MiB, in chunks, takes no memory that grows with it."""
    assert upload(server, key, pieces(1)).status == 202
    before = server.memory("VmHWM")
    reply = upload(server, key, pieces(LARGE))
    assert (reply.status, reply.json["bytes"]) == (202, LARGE * MIB)
    assert server.memory("VmHWM") - before < MOST_GROWTH


def test_too_large(here: Installation, server: Server, key: str) -> None:
    """It is refused before it ends: an announced one before it begins, one in chunks when the limit is reached."""
    before = jobs(server, key)
    with contextlib.closing(server.keep()) as connection:
        connection.putrequest("POST", PATH)
        for name, value in (("X-API-Key", key), ("Content-Type", "text/csv"), ("Transfer-Encoding", "chunked")):
            connection.putheader(name, value)
        connection.endheaders()
        for piece in pieces(LARGE + 1):
            connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        answer = connection.getresponse()  # the last chunk was not sent
        assert answer.status == 413
        assert b"40 MiB or smaller" in answer.read()
    head = [f"POST {PATH} HTTP/1.1", "Host: 127.0.0.1", f"X-API-Key: {key}", "Content-Type: text/csv"]
    asking = ["Expect: 100-continue", f"Content-Length: {LARGE * MIB + 1}"]
    reply = server.send("\r\n".join([*head, *asking, "", ""]).encode())
    assert (reply.status, reply.code) == (413, "PAYLOAD_TOO_LARGE")
    assert jobs(server, key) == before
    assert spooled(here) == []


def test_full_disk(here: Installation, server: Server, key: str) -> None:
    """A disk that is full midway is told as 503; neither the file nor an import stays, and the next one is taken."""
    before = jobs(server, key)
    (worker,) = workers(server)
    _soft, hard = resource.prlimit(worker, resource.RLIMIT_FSIZE, (LARGEST_FILE, resource.RLIM_INFINITY))
    try:
        reply = upload(server, key, b"x" * 2 * LARGEST_FILE)
        assert (reply.status, reply.code) == (503, "SERVICE_UNAVAILABLE")
    except (ConnectionError, http.client.BadStatusLine):  # it was told while the rest was being sent
        pass
    finally:
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (hard, hard))
    assert '"cause": "EFBIG"' in server.log()
    assert (jobs(server, key), spooled(here)) == (before, [])
    assert upload(server, key, b"email\nann@example.com\n").status == 202


def workers(server: Server) -> list[int]:
    """Return the ids of the processes that answer requests."""
    parent = server.process.pid
    return [int(one) for one in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
