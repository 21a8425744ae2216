"""Real servers have children that work on jobs: whatever is killed, each row has one fate, and no process is left."""

import contextlib
import os
import signal
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from support.acts import DEACTIVATE, add_crowd, begin
from support.application import app_on
from support.import_jobs import (
    Rows,
    children,
    complaints,
    created,
    staff,
    upload,
    wait,
    wait_until,
    zombies,
)
from support.installations import Installation, installed
from support.nginx import free_port
from support.people import make_key, make_user
from support.servers import BIN, Server
from users.roles import Permission, Role

pytestmark = pytest.mark.xdist_group("jobs")  # they share servers, which one worker of xdist starts
ROWS = 3000  # enough to be killed in the middle


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation on SQLite."""
    with installed(tmp_path_factory.mktemp("jobs") / "enrol") as made:
        yield made


@pytest.fixture(scope="module")
def key(here: Installation) -> str:
    """A key that may do everything."""
    with app_on(here) as app:
        return make_key(app, *Permission)


@pytest.fixture
def rows(here: Installation) -> Rows:
    """What reads from the database without the service."""

    def read(query: str) -> Sequence[Any]:
        with contextlib.closing(sqlite3.connect(here.instance / "enrol.db", timeout=10)) as connection:
            return connection.execute(query).fetchall()

    return read


def is_begun(rows: Rows, job_id: str) -> bool:
    """Tell whether some rows have their fate."""
    return bool(rows(f"SELECT 1 FROM imports WHERE id = '{job_id}' AND rows_done > 0"))


def leftovers(made: Installation) -> list[Path]:
    """Return what uploads have left in the spool."""
    return list((made.instance / "imports").glob("imp_*.file"))


def test_killed_child(here: Installation, key: str, rows: Rows) -> None:
    """Its server starts another one, which goes on at the last step."""
    (server,) = here.start("granian")
    content = staff("child.example.com", ROWS)
    job_id = created(upload(server, key, [content[:5000], content[5000:]]))  # in chunks, as clients stream it
    wait_until(lambda: is_begun(rows, job_id))
    (child,) = children(here.folder)
    assert os.getpriority(os.PRIO_PROCESS, child) == 19
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: not zombies(server))
    assert rows(f"SELECT state FROM imports WHERE id = '{job_id}'") == [("running",)]
    wait(server, key, job_id)
    assert list(complaints(rows, job_id, "child.example.com", ROWS)) == []
    assert leftovers(here) == []
    wait_until(lambda: not children(here.folder))
    wait_until(lambda: not zombies(server))
    server.end()


def test_stopped_server(here: Installation, key: str, rows: Rows) -> None:
    """The child ends with the step in hand and gives the job back; the next server, another program, goes on."""
    (server,) = here.start("granian")
    job_id = created(upload(server, key, staff("stopped.example.com", ROWS)))
    wait_until(lambda: is_begun(rows, job_id))
    server.process.terminate()
    server.process.wait(60)
    wait_until(lambda: not children(here.folder))
    job = rows(f"SELECT state, holder, crashes FROM imports WHERE id = '{job_id}'")
    assert job == [("running", None, 0)]
    port = free_port()
    server = here.launch([str(BIN / "gunicorn"), "--threads", "4", "--bind", f"127.0.0.1:{port}", "app:serve()"], port)
    wait(server, key, job_id)
    assert list(complaints(rows, job_id, "stopped.example.com", ROWS)) == []
    wait_until(lambda: not children(here.folder))
    wait_until(lambda: not zombies(server))
    server.end()


def test_killed_server(emptied_postgres: Any, tmp_path: Path) -> None:
    """Its child ends by itself, and the next server goes on with the import."""
    url = emptied_postgres()

    def rows(query: str) -> Sequence[Any]:
        with psycopg.connect(url) as connection:
            return connection.execute(query.encode()).fetchall()

    with installed(tmp_path / "enrol", {"DATABASE_URL": url}) as made:
        (server,) = made.start("granian")
        with app_on(made) as app:
            key = make_key(app, *Permission)
        job_id = created(upload(server, key, staff("server.example.com", ROWS)))
        wait_until(lambda: is_begun(rows, job_id))
        kill(server)
        wait_until(lambda: not children(made.folder))
        assert rows("SELECT state FROM imports") == [("running",)]
        (server,) = made.start("granian")
        wait(server, key, job_id)
        assert list(complaints(rows, job_id, "server.example.com", ROWS)) == []
        assert leftovers(made) == []
        wait_until(lambda: not children(made.folder))


def kill(server: Server) -> None:
    """Kill every process of the server, which its children are not."""
    os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait(60)


def test_act_on_many_users(here: Installation, rows: Rows) -> None:
    """A server finds an act that waits for a process, at its first request."""
    with app_on(here) as app, app.app_context():
        crowd = add_crowd(300)
        act_id = begin(DEACTIVATE, crowd, make_user(app, "ada@example.com", Role.ADMIN)).id
    (server,) = here.start("flask")
    query = f"SELECT state, users_done FROM bulk_acts WHERE id = '{act_id}'"
    wait_until(lambda: rows(query) == [("finished", 300)])
    assert rows(f"SELECT count(DISTINCT target_id), count(*) FROM audit_events WHERE request_id = '{act_id}'") == [
        (300, 300)
    ]
    wait_until(lambda: not children(here.folder))
    wait_until(lambda: not zombies(server))
    server.end()
