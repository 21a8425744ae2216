"""An application that was made before a fork works in the children: log, database, limits; gunicorn --preload too."""

import json
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.application import app_on
from support.installations import Installation, installed
from support.people import PASSWORD, make_key
from support.servers import BIN, START_SECONDS, Server
from users.roles import Permission

# What the programs below begin with: an application that serves, and a way to run something in children.
BEGINNING = """
import contextlib, json, multiprocessing, os, signal, sys, threading, time
from app import serve
from users import logs, rate_limits
from users.storage import database
from users.storage.models import db
from sqlalchemy import text

app = serve()

def in_child(act):
    pid = os.fork()
    if pid:
        return pid
    signal.alarm(15)  # one that hangs ends
    try:
        act()
    finally:
        logs._logger.handlers[0].flush()
        os._exit(0)

def tell(what):
    sys.stdout.write(json.dumps(what) + "\\n")  # in one write: children print at the same time
    sys.stdout.flush()

def wait(*pids):
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0
"""


@pytest.fixture(params=["sqlite", "postgres"])
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    """An installation on each database."""
    given = {"DATABASE_URL": request.getfixturevalue("emptied_postgres")()} if request.param == "postgres" else {}
    with installed(tmp_path / "enrol", {"ENROL_LOG_FORMAT": "json", **given}) as made:
        yield made


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[Installation]:
    """An installation for what has nothing to do with the database."""
    with installed(tmp_path / "enrol", {"ENROL_LOG_FORMAT": "json"}) as made:
        yield made


def run(here: Installation, program: str) -> tuple[list[Any], list[dict[str, Any]]]:
    """Run a program; return what it printed and the events that it logged."""
    done = here.run([sys.executable, "-c", BEGINNING + program])
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    return [json.loads(line) for line in done.stdout.splitlines()], events


def counts(events: list[dict[str, Any]]) -> list[int]:
    """Return the numbers that the events of a program here carry."""
    return sorted(event["count"] for event in events if event["event"] == "told")


def test_each_process_writes_its_own_lines(on_sqlite: Installation) -> None:
    _, events = run(
        on_sqlite,
        """
logs.event("told", count=0)
wait(*[in_child(lambda: logs.event("told", count=number)) for number in (1, 2)])
logs.event("told", count=3)
""",
    )
    assert counts(events) == [0, 1, 2, 3]


def test_multiprocessing_child(on_sqlite: Installation) -> None:
    """A child of multiprocessing writes its last line before it ends."""
    _, events = run(
        on_sqlite,
        """
child = multiprocessing.get_context("fork").Process(target=logs.event, args=("told",), kwargs={"count": 1})
child.start()
child.join(60)
assert child.exitcode == 0
""",
    )
    assert counts(events) == [1]


def test_fork_while_writing(on_sqlite: Installation) -> None:
    """A fork waits until the line that a thread is writing is complete."""
    # A slow stderr: a thread that writes to it during the fork holds its lock in the child for ever.
    _, events = run(
        on_sqlite,
        """
class Slow:
    def __init__(self):
        self.lock = threading.Lock()
    def write(self, words):
        with self.lock:
            time.sleep(0.2)
            sys.__stderr__.write(words)
    def flush(self):
        sys.__stderr__.flush()
sys.stderr = Slow()
logs.event("told", count=1)
time.sleep(0.1)
wait(in_child(lambda: logs.event("told", count=2)))
""",
    )
    assert counts(events) == [1, 2]


def test_no_connection_crosses_a_fork(here: Installation) -> None:
    told, _ = run(
        here,
        """
def look():
    with app.app_context():
        inherited = [name for name in open_files() if "enrol.db" in name]
        with database.reading() as session:
            on_postgres = db.engine.dialect.name == "postgresql"
            pid = session.scalar(text("SELECT pg_backend_pid()")) if on_postgres else os.getpid()
        tell([pid, inherited])

def open_files():
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the listing itself
            yield os.readlink(f"/proc/self/fd/{number}")

with app.app_context(), database.reading() as session:
    session.scalar(text("SELECT 1"))
wait(*[in_child(look) for _ in range(2)])
with app.app_context(), database.reading() as session:
    session.scalar(text("SELECT 1"))
wait(in_child(look))
look()
""",
    )
    assert len({pid for pid, _ in told}) == 4
    assert [inherited for _, inherited in told] == [[], [], [], []]


def test_child_closes_its_idle_connections(emptied_postgres: Callable[[], str], tmp_path: Path) -> None:
    """A timer of its own does it, and the parent keeps its timer."""
    with installed(tmp_path / "enrol", {"ENROL_LOG_FORMAT": "json", "DATABASE_URL": emptied_postgres()}) as here:
        told, _ = run(
            here,
            """
from users.storage import idle_connections
idle_connections.CLOSE_AFTER_SECONDS = 0.1

def read_and_wait():
    with app.app_context(), database.reading() as session:
        session.scalar(text("SELECT 1"))
        opened = sockets()
    limit = time.monotonic() + 60
    while sockets() == opened and time.monotonic() < limit:
        time.sleep(0.01)
    tell(opened - sockets())

def sockets():
    count = 0
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the listing itself
            count += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
    return count

with app.app_context(), database.reading() as session:
    session.scalar(text("SELECT 1"))
wait(in_child(read_and_wait))
read_and_wait()
""",
        )
    assert told == [1, 1]


def test_lock_held_at_the_fork(here: Installation) -> None:
    """A lock that another thread held at the fork does not block the child."""
    told, _ = run(
        here,
        """
buckets = rate_limits.Buckets(rate_limits.Rate(10, 60))

def hold():
    with app.extensions["enrol.writers"], buckets._lock:
        held.set()
        time.sleep(60)
held = threading.Event()
threading.Thread(target=hold, daemon=True).start()
held.wait()

def act():
    with app.app_context(), database.transaction() as session:
        session.execute(text("UPDATE users SET first_name = NULL WHERE id = 'usr_nobody'"))
    tell(buckets.take("somebody").granted)
wait(in_child(act))
""",
    )
    assert told == [True]


@pytest.fixture
def preloaded(here: Installation) -> Server:
    """A gunicorn that loads the application once and forks two workers."""
    _, port = here.command("production")
    options = ["--preload", "--workers", "2", "--threads", "4", "--no-control-socket"]
    return here.launch([str(BIN / "gunicorn"), *options, "--bind", f"127.0.0.1:{port}", "app:serve()"], port)


def test_gunicorn_preload(here: Installation, preloaded: Server) -> None:
    """gunicorn serves and logs with an application that it loaded before it forked its workers."""
    with app_on(here) as app:
        key = make_key(app, Permission.USERS_CREATE)
    for _ in range(20):
        body = {"email": f"{uuid.uuid4().hex}@example.com", "password": PASSWORD}
        assert preloaded.call("POST", "/v1/user/", key=key, body=body).status == 201
    preloaded.process.send_signal(signal.SIGTERM)
    assert preloaded.process.wait(START_SECONDS) == 0
    assert preloaded.log().count('"status": 201') == 20
    assert "unexpected_error" not in preloaded.log()


def test_the_reloaders_child_logs(on_sqlite: Installation) -> None:
    (server,) = on_sqlite.start("flask", options=("--debug",))
    assert server.call("GET", "/v1/user/profile").status == 401
    limit = time.monotonic() + START_SECONDS
    while "/v1/user/profile" not in server.log():
        assert time.monotonic() < limit
        time.sleep(0.02)
