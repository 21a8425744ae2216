"""Creates and reads through PgBouncer, in transaction and in session mode, against the same directly.

`.venv/bin/python tests/faults/pooler.py` prints a line for each way: what was answered, how long it took in the middle,
and the statement_timeout that another client of the pooler finds.
"""

import argparse
import contextlib
import json
import statistics
import sys
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from support.application import app_on  # noqa: E402
from support.installations import installed  # noqa: E402
from support.people import PASSWORD, make_key  # noqa: E402
from support.pgbouncer import pgbouncer  # noqa: E402
from support.postgres import own_postgres, postgres_database  # noqa: E402
from support.servers import Server  # noqa: E402
from users.roles import Permission  # noqa: E402

# What each way needs: the connections of the pooler to Postgres, and those of each of the two workers to the pooler.
WAYS = {"direct": (0, 16), "transaction": (4, 16), "session": (10, 4)}
CLIENTS = 12


@dataclass
class Outcome:
    """What came of the requests on one way."""

    statuses: Counter[int]
    create_seconds: float  # in the middle
    read_seconds: float
    statement_timeout: str  # for another client

    def __str__(self) -> str:
        answers = ", ".join(f"{number:,} × {status}" for status, number in sorted(self.statuses.items()))
        times = f"create {self.create_seconds * 1000:.1f} ms, read {self.read_seconds * 1000:.1f} ms"
        return f"{answers}; {times}; statement_timeout of others {self.statement_timeout}"


def run(server: str, way: str, requests: int) -> Outcome:
    """Send half of the `requests` as creates and half as reads to two workers that reach the Postgres at `server`."""
    size, connections = WAYS[way]
    with (
        postgres_database(server) as direct,
        TemporaryDirectory(prefix="enrol-pooler-") as folder,
        pgbouncer(direct, mode=way, size=size) if size else contextlib.nullcontext(direct) as url,
        installed(Path(folder) / "enrol", {"DATABASE_URL": direct, "ENROL_DATABASE_POOL": str(connections)}) as made,
    ):
        with app_on(made) as app:
            key = make_key(app, Permission.USERS_CREATE, Permission.USERS_READ)
        made.environment.update(DATABASE_URL=url, ENROL_RATE_LIMIT="off")
        (production,) = made.start("production")
        answers = _load(production, key, requests)
        assert "unexpected_error" not in production.log()
        with psycopg.connect(url, prepare_threshold=None) as other:
            (found,) = other.execute("SHOW statement_timeout").fetchone() or ("",)
        times = {method: [seconds for one, _, seconds in answers if one == method] for method in ("POST", "GET")}
        return Outcome(
            Counter(status for _, status, _ in answers),
            statistics.median(times["POST"]),
            statistics.median(times["GET"]),
            str(found),
        )


def _load(server: Server, key: str, requests: int) -> list[tuple[str, int, float]]:
    """Send the requests from all clients at once; return the method, status and seconds of each answer."""
    numbers, answers = count(), list[tuple[str, int, float]]()

    def send(_client: int) -> None:
        with contextlib.closing(server.keep()) as connection:
            while (number := next(numbers)) < requests:
                method = ("POST", "GET")[number % 2]
                body = json.dumps({"email": f"{uuid.uuid4().hex}@example.com", "password": PASSWORD})
                start = time.monotonic()
                headers = {"X-API-Key": key, "Content-Type": "application/json"}
                connection.request(method, "/v1/user/", body if method == "POST" else None, headers)
                answer = connection.getresponse()
                answer.read()
                answers.append((method, answer.status, time.monotonic() - start))

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(send, range(CLIENTS)))
    return answers


def main() -> None:
    """Run all ways on a Postgres of its own; exit with 1 if a request failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=4000)
    given = parser.parse_args()
    with own_postgres() as server:
        outcomes = {way: run(server.get_uri(), way, given.requests) for way in WAYS}
    for way, outcome in outcomes.items():
        print(f"{way}: {outcome}")
    sys.exit(any(set(outcome.statuses) != {200, 201} for outcome in outcomes.values()))


if __name__ == "__main__":
    main()
