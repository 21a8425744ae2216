"""Measure imports and print the tables: `.venv/bin/python tests/bench/bulk.py`, on a machine that is idle.

Every figure is a ratio, or stands beside one, of things measured in turn in the same run. `--rows` of a million take an
hour; 100,000 show the same ratios.
"""

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]

import psycopg  # noqa: E402  (the path is set first)

from bench.clients import Tally, ask_for, create, get  # noqa: E402
from bench.run import CHEAP, DATABASES, FLOOR, bare, enrol, head, measured_site, percentiles, row  # noqa: E402
from support import databases  # noqa: E402
from support.application import app_on, migrate  # noqa: E402
from support.installations import Installation, installed  # noqa: E402
from support.people import make_key  # noqa: E402
from support.postgres import own_postgres, postgres_database, run_on_postgres  # noqa: E402
from support.servers import BIN  # noqa: E402
from users.roles import Permission  # noqa: E402

HASH = "$2b$12$abcdefghijklmnopqrstuu5r4Nfr9nYqW8EbhQ5mGzDh4c5uCdzXK"
HEADER = "email,first_name,last_name,password_hash,created_at\n"
CHUNK = 10_000  # rows of a transaction of the bare database: the fewer transactions, the faster
TABLES_OF_AN_IMPORT = ("users", "audit_events")
LOCK_MILLISECONDS = 40  # what a batch may hold SQLite's write lock


def main() -> None:
    """Print the tables that were asked for, by default all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", help=f"of {', '.join(TABLES)}; by default all")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of a file")
    parser.add_argument("--rounds", type=int, default=5, help="of everything that is compared, in turn")
    parser.add_argument("--databases", nargs="*", default=DATABASES, choices=DATABASES)
    parser.add_argument("--seconds", type=float, default=15, help="that a round of clients lasts")
    given = parser.parse_args()
    for name in given.tables or TABLES:
        print(f"\n{name}\n", flush=True)
        TABLES[name](given)


def speed(given: argparse.Namespace) -> None:
    """Print how much of the bare database's speed an import has, and how fast it only looks."""
    head("database", "bare, rows/s", "import, rows/s", "ratio", "memory", "dry run, rows/s", "memory")
    for database in given.databases:
        with _databases(database) as made:
            file = made.here.folder / "staff.csv"
            _write_file(file, given.rows, there=made.fill(given.rows // 100))
            limits, imports, looks, memories = [], [], [], [[0.0], [0.0]]
            for _ in range(given.rounds):
                made.begin()
                looks.append(given.rows / _timed(made.here, memories[1], file, "--dry-run"))
                imports.append(given.rows / _timed(made.here, memories[0], file, "--yes"))
                limits.append(made.bare())
            limit, rate = median(limits), median(imports)
            row(database, f"{limit:,.0f}", f"{rate:,.0f}", f"{rate / limit:.2f}", f"{max(memories[0]):.0f} MiB",
                f"{median(looks):,.0f}", f"{max(memories[1]):.0f} MiB")  # fmt: skip


def _write_file(file: Path, rows: int, there: Sequence[str]) -> None:
    """Write a file of which 1% is bad, 1% stands there twice, and 1% are users who are there."""
    with file.open("w", encoding="utf-8", newline="") as out:
        out.write(HEADER)
        for number in range(rows):
            kind = number % 100
            email = f"user.{number}@firm{number % 997}.example.org"
            if kind == 33:
                email = f"user.{number}"
            elif kind == 66:
                email = f"user.{number - 1}@firm{(number - 1) % 997}.example.org"
            elif kind == 99:
                email = there[number // 100 % len(there)]
            out.write(
                f"{email},First{number % 613},Last{number % 4_099},{HASH},2024-03-{number % 28 + 1:02}T10:00:00Z\n"
            )


def _import(here: Installation, file: Path, *options: str) -> "subprocess.Popen[bytes]":
    """Start an import by the command line."""
    line, none = [str(BIN / "flask"), "users", "import", str(file), *options, "--json"], subprocess.DEVNULL
    return subprocess.Popen(line, cwd=here.folder, env=here.environment, stdin=none, stdout=none, stderr=none)


def _timed(here: Installation, memory: list[float], file: Path, *options: str) -> float:
    """Import the file by the command line; return the seconds, and add the most memory in MiB."""
    start = time.monotonic()
    process = _import(here, file, *options)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode in (0, 6), process.returncode
    memory.append(used.ru_maxrss / 1024)
    return seconds


class _Sqlite:
    """A database file, and a copy of it without the rows of the import."""

    def __init__(self, here: Installation) -> None:
        self.here = here
        self._file, self._before = here.instance / "enrol.db", here.folder / "before.db"
        migrate(f"sqlite:///{self._file}")

    def fill(self, count: int) -> list[str]:
        found = _fill(self.here, count)
        with closing(sqlite3.connect(self._file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copy(self._file, self._before)
        return found

    def begin(self) -> None:
        for one in self.here.instance.glob("enrol.db*"):
            one.unlink()
        shutil.copy(self._before, self._file)

    def bare(self) -> float:
        """Insert what the import has made into another copy, and return the rows a second."""
        copy = self.here.folder / "bare.db"
        for one in self.here.folder.glob("bare.db*"):
            one.unlink()
        shutil.copy(self._before, copy)
        seconds = rows = 0.0
        with closing(sqlite3.connect(self._file)) as source, closing(sqlite3.connect(copy)) as target:
            target.isolation_level = None
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
                target.execute(f"PRAGMA {pragma}")
            last = ""
            while chunk := self._chunk(source, last):
                last, made = chunk
                start = time.monotonic()
                target.execute("BEGIN IMMEDIATE")
                for table, columns, found in made:
                    marks = ", ".join("?" for _ in columns)
                    target.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", found)
                target.execute("COMMIT")
                seconds += time.monotonic() - start
                rows += len(made[0][2])
        return rows / seconds

    def _chunk(
        self, source: sqlite3.Connection, last: str
    ) -> tuple[str, list[tuple[str, list[str], list[Any]]]] | None:
        events = "SELECT * FROM audit_events WHERE request_id LIKE 'imp%' AND id > ? ORDER BY id LIMIT ?"
        cursor = source.execute(events, (last or self._fills_end(source), CHUNK))
        names, found = [one[0] for one in cursor.description], cursor.fetchall()
        if not found:
            return None
        ids = [one[names.index("target_id")] for one in found]
        marks = ", ".join("?" for _ in ids)
        users = source.execute(f"SELECT * FROM users WHERE id IN ({marks}) ORDER BY rowid", ids)
        columns = [one[0] for one in users.description if one[0] != "status"]
        at = [one[0] for one in users.description].index("status")
        made = [one[:at] + one[at + 1 :] for one in users]
        return found[-1][0], [("users", columns, made), ("audit_events", names, found)]

    def _fills_end(self, source: sqlite3.Connection) -> str:
        source.execute("ATTACH ? AS before", (str(self._before),))
        end: str = source.execute("SELECT coalesce(max(id), '') FROM before.audit_events").fetchone()[0]
        source.execute("DETACH before")
        return end


class _Postgres:
    """A database, and a template of it without the rows of the import."""

    def __init__(self, here: Installation, server: str, url: str) -> None:
        self.here = here
        self._server, self._url = server, url
        self._name = next(part for part in url.replace("?", "/").split("/") if part.startswith("enrol_"))
        here.environment["DATABASE_URL"] = url
        migrate(url)

    def fill(self, count: int) -> list[str]:
        found = _fill(self.here, count)
        self._make(f"{self._name}_before", self._name)
        return found

    def _make(self, name: str, template: str) -> None:
        run_on_postgres(self._server, f'DROP DATABASE IF EXISTS "{name}"')
        run_on_postgres(self._server, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')

    def begin(self) -> None:
        self._make(self._name, f"{self._name}_before")

    def bare(self) -> float:
        """Copy what the import has made into another database, and return the rows a second."""
        self._make(f"{self._name}_bare", f"{self._name}_before")
        seconds, rows = 0.0, 0
        target_url = self._url.replace(self._name, f"{self._name}_bare")
        with psycopg.connect(self._url) as source, psycopg.connect(target_url) as target:
            first = source.execute("SELECT id FROM imports ORDER BY id DESC LIMIT 1").fetchone()
            assert first
            ids = [
                one[0]
                for one in source.execute(
                    "SELECT target_id FROM audit_events WHERE request_id = %s AND action = 'user.create' ORDER BY id",
                    (first[0],),
                )
            ]
            for start in range(0, len(ids), CHUNK):
                some = ids[start : start + CHUNK]
                made = [self._dump(source, table, some) for table in TABLES_OF_AN_IMPORT]
                began = time.monotonic()
                for table, (columns, data) in zip(TABLES_OF_AN_IMPORT, made, strict=True):
                    with target.cursor().copy(f"COPY {table} ({columns}) FROM STDIN".encode()) as copy:
                        copy.write(data)
                target.commit()
                seconds += time.monotonic() - began
                rows += len(some)
        run_on_postgres(self._server, f'DROP DATABASE "{self._name}_bare"')
        return rows / seconds

    def _dump(self, source: "psycopg.Connection[Any]", table: str, ids: list[str]) -> tuple[str, bytes]:
        found = source.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = %s "
            "AND is_generated = 'NEVER' ORDER BY ordinal_position",
            (table,),
        )
        columns = ", ".join(one[0] for one in found)
        key = "id" if table == "users" else "target_id"
        query = f"COPY (SELECT {columns} FROM {table} WHERE {key} = ANY(%s) ORDER BY id) TO STDOUT"
        with source.cursor().copy(query.encode(), (ids,)) as copy:
            return columns, b"".join(map(bytes, copy))


def _fill(here: Installation, count: int) -> list[str]:
    """Import users who are there already, and return their emails."""
    emails = [f"there.{number}@example.com" for number in range(max(1, count))]
    file = here.folder / "there.csv"
    file.write_text("".join([HEADER, *(f"{email},,,{HASH},\n" for email in emails)]))
    _timed(here, [], file, "--yes")
    return emails


@contextmanager
def _databases(database: str) -> Iterator[Any]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="enrol-bulk-")))
        here = stack.enter_context(installed(folder / "enrol"))
        if database == "sqlite":
            yield _Sqlite(here)
        else:
            server = stack.enter_context(own_postgres()).get_uri()
            yield _Postgres(here, server, stack.enter_context(postgres_database(server)))


def beside(given: argparse.Namespace) -> None:
    """Print what requests feel of an import, as times of what they took before it."""
    head("database", "request", "before, p99", "during an import, p99", "ratio", "of a batch's 40 ms", "failed")
    for database in given.databases:
        with measured_site(database) as site, TemporaryDirectory() as folder:
            server, file = enrol(site, CHEAP), Path(folder) / "staff.csv"
            _write_file(file, given.rows, there=["nobody@example.com"])
            works = {"create": partial(create, site.key), "read": partial(get, "/v1/user/?limit=1", site.key)}
            before = _ask_all(given.seconds, server.port, works)
            process = _import(site.installation, file, "--yes")
            _wait_until_it_inserts(site.installation)
            during = _ask_all(given.seconds, server.port, works)
            assert process.poll() is None, "the import has ended before the clients: give it more --rows"
            process.terminate()
            process.wait()
            for name, status in (("create", 201), ("read", 200)):
                was, now = before[name].milliseconds(0.99), during[name].milliseconds(0.99)
                failed = sum(during[name].statuses.values()) - during[name].statuses[status]
                times = f"{now / LOCK_MILLISECONDS:.1f}" if name == "create" else ""
                row(database, name, f"{was:.1f} ms", f"{now:.1f} ms", f"{now / was:.1f}", times, str(failed))


def _wait_until_it_inserts(here: Installation) -> None:
    """Return when the first batch is in the database: the file is checked first."""
    with app_on(here) as app:
        while not databases.rows(app, "SELECT 1 FROM imports WHERE created > 0 AND state = 'running'"):
            time.sleep(0.2)


def _ask_all(seconds: float, port: int, works: dict[str, Any]) -> dict[str, Tally]:
    """Let one client of each kind ask, a few times a second, and return what each heard."""
    found: dict[str, Tally] = {}

    def ask(name: str) -> None:
        found[name] = ask_for(seconds, port, works[name], clients=1, pause=0.02)

    threads = [threading.Thread(target=ask, args=(name,)) for name in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def passwords(given: argparse.Namespace) -> None:
    """Print how much of the machine's hashes an import of plain passwords makes, and what it leaves to the API."""
    head("database", "bare argon2id", "imported", "ratio", "API alone", "API beside an import", "ratio")
    for database in given.databases:
        with measured_site(database) as site, TemporaryDirectory() as folder:
            here, rates = site.installation, {name: list[float]() for name in ("bare", "import", "alone", "beside")}
            here.environment.pop("ENROL_HASH_SLOTS", None)
            here.environment["ENROL_PASSWORD_HASH"] = FLOOR
            for number in range(given.rounds):
                rates["bare"].append(bare(site, FLOOR, given.seconds))
                file = Path(folder) / f"plain{number}.csv"
                rows = int(rates["bare"][0] * given.seconds)
                lines = [f"plain.{number}.{one}@example.com,three random words\n" for one in range(rows)]
                file.write_text("".join(["email,password\n", *lines]))
                rates["import"].append(rows / _timed(here, [], file, "--yes"))
            here.environment["ENROL_HASH_SLOTS"] = "1"
            server = enrol(site, FLOOR)
            for number in range(given.rounds):
                rates["alone"].append(ask_for(given.seconds, server.port, partial(create, site.key)).rate(201))
                file = Path(folder) / f"beside{number}.csv"
                lines = [f"beside.{number}.{one}@example.com,three random words\n" for one in range(100_000)]
                file.write_text("".join(["email,password\n", *lines]))
                process = _import(here, file, "--yes")
                time.sleep(5)
                rates["beside"].append(ask_for(given.seconds, server.port, partial(create, site.key)).rate(201))
                process.terminate()
                process.wait()
            rate = {name: median(values) for name, values in rates.items()}
            told = {name: f"{one:.1f}/s" for name, one in rate.items()}
            ratios = f"{rate['import'] / rate['bare']:.0%}", f"{rate['beside'] / rate['alone']:.0%}"
            row(database, told["bare"], told["import"], ratios[0], told["alone"], told["beside"], ratios[1])


def batches(given: argparse.Namespace) -> None:
    """Print how fast the batch of the API is beside creates of one user, with hashes that cost nothing."""
    head("database", "creates, users/s", "batches of 1,000, users/s", "ratio", "batch, p50")
    for database in given.databases:
        with measured_site(database) as site:
            server = enrol(site, CHEAP)
            singles = ask_for(given.seconds, server.port, partial(create, site.key), clients=4)
            with app_on(site.installation) as app:
                key = make_key(app, Permission.USERS_IMPORT)
            many = ask_for(given.seconds, server.port, partial(_batch, key), clients=1)
            one, all_ = singles.rate(201), 1_000 * many.rate(200)
            row(database, f"{one:.0f}", f"{all_:.0f}", f"{all_ / one:.1f}", percentiles(many)[0])


def _batch(key: str) -> bytes:
    """Return the request that creates 1,000 users."""
    stamp = time.monotonic_ns()
    users = [{"email": f"u{stamp}.{one}@example.com", "password_hash": HASH} for one in range(1_000)]
    content = json.dumps({"users": users}).encode()
    line = f"POST /v1/user/import HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"
    return line.encode() + b"Content-Length: %d\r\n\r\n" % len(content) + content


TABLES = {"speed": speed, "beside": beside, "passwords": passwords, "batches": batches}

if __name__ == "__main__":
    main()
