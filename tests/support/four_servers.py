"""Four server processes on one database, as fixtures."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from flask import Flask

from app import create_app
from support.application import CHEAP, dispose
from support.databases import DATABASES
from support.installations import Installation, installed
from support.servers import KINDS, Reply, Server


@dataclass
class FourServers:
    """Four server processes, two of each kind, and the application in this process, all on one database.

    They have the same secret key: a browser of one is known to all.
    """

    installation: Installation
    servers: Sequence[Server]
    app: Flask


@pytest.fixture(scope="session")
def start_four(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], FourServers]]:
    """A function that starts the four on a new instance folder, once for all tests on that database."""
    started: dict[str, FourServers] = {}
    with contextlib.ExitStack() as stack:

        def start(database: str) -> FourServers:
            if database not in started:
                given = {}
                if database == "postgres":
                    given = {"DATABASE_URL": request.getfixturevalue("emptied_postgres")()}
                made = stack.enter_context(installed(tmp_path_factory.mktemp("four") / "enrol", given))
                servers = made.start(*KINDS, *KINDS)
                own = {"SECRET_KEY": (made.instance / "secret_key").read_text()}
                app = create_app({**CHEAP, "DATABASE_URL": f"sqlite:///{made.instance}/enrol.db", **given, **own})
                stack.callback(dispose, app)
                started[database] = FourServers(made, servers, app)
            return started[database]

        yield start


@pytest.fixture(params=DATABASES)
def four(request: pytest.FixtureRequest, start_four: Callable[[str], FourServers]) -> FourServers:
    """The four server processes, on SQLite and on Postgres."""
    return start_four(request.param)


def at_once(sends: Sequence[Callable[[], Reply]]) -> list[Reply]:
    """Send all requests in parallel."""
    together = threading.Barrier(len(sends))

    def wait_and_send(send: Callable[[], Reply]) -> Reply:
        together.wait()
        return send()

    with ThreadPoolExecutor(len(sends)) as pool:
        return list(pool.map(wait_and_send, sends))
