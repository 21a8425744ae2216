"""The faults, each broken and mended under load, and the verdict on what came of it."""

import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg

from faults.links import Links
from faults.load import Load
from faults.pair import primary_frozen, primary_killed, standby_gone
from faults.site import CHECKS, PostgresSite, Site, SqliteSite, open_site

Fault = Callable[[Site], AbstractContextManager[None]]

EXPECTED = {201, 409, 503}
ANSWER_SECONDS = 6
WELL_SECONDS = 5


@dataclass(frozen=True)
class Verdict:
    """What one fault on one database came to."""

    fault: str
    database: str
    created: int
    refused: int | None  # None: not counted, where connections broke
    slowest: float
    well_after: float
    wrong: tuple[str, ...]
    used: int | None = None  # password links, whose use was acknowledged


def reckon(site: Site, load: Load) -> list[str]:
    """Return everything that is wrong afterwards: a user lost or doubled, or half of an act."""
    there = dict(site.rows("SELECT id, email FROM users"))
    lost = [one for one in load.created() if there.get(one.user_id or "") != one.email]
    wrong = [f"{len(lost)} of {len(load.created())} acknowledged users are lost"] if lost else []
    for one in random.sample(load.created(), min(20, len(load.created()))):
        if site.server.call("GET", f"/v1/user/{one.user_id}", key=site.key).status != 200:
            wrong.append("an acknowledged user cannot be read")
    wrong += [f"{len(found)} {name}" for name, query in CHECKS.items() if (found := site.rows(query))]
    if damage := site.damage():
        wrong.append(f"the database is damaged: {damage}")
    return wrong


def crash(database: str, victim: str, rounds: int) -> Verdict:
    """Kill the server's processes, or Postgres, at a random moment of full load; start again; count."""
    with open_site(database) as site:
        wrong: list[str] = []
        created, used, well = 0, 0, 0.0
        for _ in range(rounds):
            with Links(site) as links, Load(site.server.port, site.key) as load:
                time.sleep(random.uniform(0.3, 1.5))  # noqa: S311  (a moment, not a secret)
                if victim == "server":
                    site.kill_server()
                elif isinstance(site, PostgresSite):
                    site.stop_postgres(signal.SIGKILL)
            begin = time.monotonic()
            if victim == "server":
                site.start()
            elif isinstance(site, PostgresSite):
                site.start_postgres()
            with Load(site.server.port, site.key) as after:
                well = max(well, after.seconds_until_well(begin))
            created += len(load.created()) + len(after.created())
            used += len(links.used())
            wrong += [*links.complaints(), *reckon(site, load), *reckon(site, after)]
        name = f"kill -9 of {victim}, {rounds} times"
        return Verdict(name, database, created, None, 0.0, well, tuple(wrong), used)


def under_load(name: str, database: str, fault: Fault, *, seconds: float, size: str = "") -> Verdict:
    """Break and mend under load; every answer must be an expected one, in time, and all must be well soon after."""
    with open_site(database, size=size) as site:
        pid = site.server.process.pid
        with Load(site.server.port, site.key) as load:
            time.sleep(1)
            with fault(site):
                time.sleep(seconds)
            well = load.seconds_until_well(site.mended_at or time.monotonic())
        wrong = site.complaints + reckon(site, load)
        if unexpected := {f"{one.status} {one.error}" for one in load.answers if one.status not in EXPECTED}:
            wrong.append(f"answers of {sorted(unexpected)}")
        slowest = max(one.seconds for one in load.answers)
        if slowest > ANSWER_SECONDS:
            wrong.append(f"an answer after {slowest:.1f} s")
        if well > WELL_SECONDS:
            wrong.append(f"well only {well:.1f} s after")
        if site.server.process.poll() is not None or site.server.process.pid != pid:
            wrong.append("the server ended")
        if "Unexpected exit" in site.server.log():
            wrong.append("a worker ended")
        refused = sum(one.status == 503 for one in load.answers)
        return Verdict(name, database, len(load.created()), refused, slowest, well, tuple(wrong))


@contextmanager
def stopped(site: Site) -> Iterator[None]:
    """Postgres stopped, which cuts every connection, and started again."""
    assert isinstance(site, PostgresSite)
    site.stop_postgres()
    yield
    site.start_postgres()


@contextmanager
def frozen(site: Site) -> Iterator[None]:
    """Postgres that neither answers nor hangs up."""
    assert isinstance(site, PostgresSite)
    site.send(signal.SIGSTOP)
    yield
    site.send(signal.SIGCONT)


@contextmanager
def locked(site: Site) -> Iterator[None]:
    """Another writer that holds the lock: SQLite's one, or that of the users' table."""
    if isinstance(site, SqliteSite):
        with closing(sqlite3.connect(site.file, timeout=10, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.rollback()
    else:
        assert isinstance(site, PostgresSite)
        with psycopg.connect(site.url) as other:
            other.execute("LOCK TABLE users IN EXCLUSIVE MODE")
            yield
            other.rollback()


@contextmanager
def full(site: Site) -> Iterator[None]:
    """A disk with no byte left."""
    assert isinstance(site, SqliteSite)
    ballast = site.file.with_name("ballast")
    with open(ballast, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 65536)
        except OSError:
            pass
    yield
    ballast.unlink()


@contextmanager
def crowded(site: Site) -> Iterator[None]:
    """Postgres with no connection left: strangers take all places, those of the server too, which are cut for them."""
    assert isinstance(site, PostgresSite)
    strangers: list[psycopg.Connection[Any]] = []
    stop = threading.Event()

    def take_places() -> None:
        while not stop.is_set():
            with suppress(psycopg.OperationalError):
                strangers.append(psycopg.connect(site.url, application_name="stranger"))

    threads = [threading.Thread(target=take_places) for _ in range(4)]
    with psycopg.connect(site.url, autocommit=True, application_name="stranger") as master:
        for thread in threads:
            thread.start()
        for _ in range(20):
            master.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE backend_type = 'client backend' AND application_name <> 'stranger'"
            )
            time.sleep(0.05)
        yield
        stop.set()
        for thread in threads:
            thread.join()
        for stranger in strangers:
            stranger.close()


@contextmanager
def read_only(site: Site) -> Iterator[None]:
    """A database that takes no writes: a standby that was promoted elsewhere, a file that lost its permission."""
    assert isinstance(site, PostgresSite)
    with psycopg.connect(site.url, autocommit=True) as master:
        master.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        master.execute("SELECT pg_reload_conf()")
    yield
    with psycopg.connect(site.url, autocommit=True) as master:
        master.execute("SET default_transaction_read_only = off")
        master.execute("ALTER SYSTEM RESET default_transaction_read_only")
        master.execute("SELECT pg_reload_conf()")


@contextmanager
def stalled(site: Site) -> Iterator[None]:
    """Fifty clients with a valid key, each of which stops in the middle of a body."""
    headers = ["Host: 127.0.0.1", f"X-API-Key: {site.key}", "Content-Type: application/json", "Content-Length: 200"]
    begun = "\r\n".join(["POST /v1/user/ HTTP/1.1", *headers, "", '{"email": '])
    with ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(site.server.connect()).sendall(begun.encode())
        yield


CRASHES = (("sqlite", "server"), ("postgres", "server"), ("postgres", "Postgres"))
FAULTS: dict[str, tuple[tuple[str, ...], Fault, str]] = {
    "stopped and started": (("postgres",), stopped, ""),
    "frozen": (("postgres",), frozen, ""),
    "locked by a writer": (("sqlite", "postgres"), locked, ""),
    "disk full": (("sqlite",), full, "24m"),
    "no connection left": (("postgres",), crowded, ""),
    "read-only": (("postgres",), read_only, ""),
    "50 stalled clients": (("sqlite", "postgres"), stalled, ""),
}
PAIR_FAULTS: dict[str, Fault] = {
    "primary killed": primary_killed,
    "primary frozen": primary_frozen,
    "synchronous standby gone": standby_gone,
}
