"""Upgrade a million users beside the version before: `nice .venv/bin/python tests/bench/migrating.py`.

Threads write and read as servers of schema 0010 do while migration 0011 runs. The target: none of them waits for a
second.
"""

import argparse
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

import psycopg  # noqa: E402  (the path is set first)

from support import population  # noqa: E402
from support.application import CHEAP  # noqa: E402
from support.postgres import own_postgres  # noqa: E402
from users.storage.schema_version import HEAD  # noqa: E402

OLDER = "0010"
COLUMNS = population.USER_COLUMNS.replace(", search_parents", "")
LEFT_OUT = population.USER_COLUMNS.split(", ").index("search_parents")
WAIT_SECONDS = 1  # the longest that is good
DRAWN = 100_000  # users whom a thread works on
PAUSE_SECONDS = 0.02  # between two acts of a thread
MARKS = ", ".join("?" * (COLUMNS.count(",") + 1))
# What servers of schema 0010 do, but for the last: it reads, and knows the index of neither version.
WRITES = {
    "create": f"INSERT INTO users ({COLUMNS}) VALUES ({MARKS})",
    "sign in": "UPDATE users SET last_login = ? WHERE id = ?",
}
READS = {
    "one user": "SELECT id, email, updated_at FROM users WHERE id = ?",
    "by email": "SELECT id, email, updated_at FROM users WHERE email_key = ? AND deleted_at IS NULL",
    "list": "SELECT id FROM users WHERE status = 2 ORDER BY id DESC LIMIT 51",
}


def flask_db(url: str, *arguments: str) -> None:
    """Run `flask db` in a process of its own, as an operator does."""
    environment = {**CHEAP, "DATABASE_URL": url, "PATH": "/usr/bin:/bin", "FLASK_APP": "app"}
    line = [sys.executable, "-m", "flask", "db", *arguments]
    subprocess.run(line, check=True, env=environment, cwd=Path(__file__).parents[2])


def old_row(row: tuple[Any, ...]) -> list[Any]:
    """Return the row of a user as schema 0010 has it."""
    return [*row[:LEFT_OUT], *row[LEFT_OUT + 1 :]]


def populate(url: str, number: int) -> None:
    """Put users of schema 0010 into the database."""
    rows = map(old_row, population.users(number))
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file, file:
            file.execute("PRAGMA cache_size = -2000000")
            file.executemany(WRITES["create"], (population._for_sqlite(tuple(row)) for row in rows))
        return
    with psycopg.connect(url, autocommit=True) as connection:
        with connection.cursor().copy(f"COPY users ({COLUMNS}) FROM STDIN".encode()) as copy:
            for row in rows:
                copy.write_row(row)
        connection.execute("VACUUM ANALYZE")


class Older(threading.Thread):
    """A client of the database that does one thing again and again, and notes how long it took at most."""

    def __init__(self, url: str, name: str, rows: Iterator[list[Any]], stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.act, self.url, self.rows, self.stop = name, url, rows, stop
        self.longest, self.at, self.count = 0.0, 0.0, 0

    def run(self) -> None:
        connect: Callable[[], Any] = self.sqlite if self.url.startswith("sqlite") else self.postgres
        with closing(connect()) as connection:
            self.values()  # draws
            start = time.monotonic()
            while not self.stop.is_set():
                begin = time.monotonic()
                self.do(connection)
                taken = time.monotonic() - begin
                self.count += 1
                if taken > self.longest:
                    self.longest, self.at = taken, begin - start
                self.stop.wait(PAUSE_SECONDS)

    def sqlite(self) -> Any:
        connection = sqlite3.connect(self.url.removeprefix("sqlite:///"), isolation_level=None)
        connection.execute("PRAGMA busy_timeout = 0")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def postgres(self) -> Any:
        return psycopg.connect(self.url, autocommit=True)

    def values(self) -> list[Any]:
        row = next(self.rows)
        values = {"create": row, "sign in": [datetime.now(UTC), row[0]], "one user": [row[0]], "by email": [row[2]]}
        return values.get(self.act, [])

    def do(self, connection: Any) -> None:
        statement = {**WRITES, **READS}[self.act]
        if not self.url.startswith("sqlite"):
            found = connection.execute(statement.replace("?", "%s").encode(), self.values())
            if self.act in READS:
                found.fetchall()
            return
        values = population._for_sqlite(tuple(self.values()))
        if self.act in READS:
            connection.execute(statement, values).fetchall()
            return
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                break
            except sqlite3.OperationalError:
                time.sleep(0.001)
        connection.execute(statement, values)
        connection.execute("COMMIT")


@contextmanager
def database(kind: str) -> Iterator[str]:
    """Yield the URL of an empty database."""
    with TemporaryDirectory(prefix="enrol-migrating-") as folder:
        if kind == "sqlite":
            yield f"sqlite:///{folder}/enrol.db"
            return
        with own_postgres() as server:
            yield server.get_uri()


def later_rows(number: int, first: int) -> Iterator[list[Any]]:
    """Yield users who come after the first `number`."""
    for n, row in enumerate(population.users(number)):
        yield old_row((f"usr_ffe{first:01x}{n:028x}", f"new{first}.{n}.{row[1]}", f"new{first}.{n}.{row[1]}", *row[3:]))


def measure(kind: str, number: int) -> bool:
    """Print how long each kind of act took at most while the migration ran; tell whether all are good."""
    with database(kind) as url:
        flask_db(url, "upgrade", OLDER)
        populate(url, number)
        stop = threading.Event()
        threads = [
            Older(url, act, later_rows(DRAWN, n) if act == "create" else map(old_row, population.users(DRAWN)), stop)
            for n, act in enumerate({**WRITES, **READS})
        ]
        for thread in threads:
            thread.start()
        start = time.monotonic()
        flask_db(url, "upgrade")
        taken = time.monotonic() - start
        stop.set()
        for thread in threads:
            thread.join(10)
        print(f"{kind}: {number:,} users brought to {HEAD} in {taken:.0f} s", flush=True)
        for one in threads:
            print(f"  {one.act}: {one.count:,} times, the longest {one.longest * 1000:.0f} ms, after {one.at:.0f} s")
        return all(one.longest < WAIT_SECONDS for one in threads)


def main() -> None:
    """Measure both databases, and end with 1 if anything had to wait for too long."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--only", default="", help="sqlite or postgres")
    given = parser.parse_args()
    good = [measure(kind, given.users) for kind in ("sqlite", "postgres") if given.only in ("", kind)]
    sys.exit(not all(good))


if __name__ == "__main__":
    main()
