"""Several server processes on one database, and a Postgres behind a wire that can be cut, as fixtures."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest
from flask import Flask

from app import create_app
from conftest import CHEAP, DATABASES, Api, dispose, make_key
from support.servers import KINDS, Server, Tree, Wire, tree
from users.roles import Permission


@dataclass
class Four:
    """Four server processes, two of each kind, and the application in this process, all on one database."""

    tree: Tree
    servers: Sequence[Server]
    app: Flask


@pytest.fixture(scope="session")
def start_four(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Four]]:
    """What starts the four together on a new instance folder, once for all tests on that database."""
    started: dict[str, Four] = {}
    with contextlib.ExitStack() as stack:

        def start(database: str) -> Four:
            if database not in started:
                given = {"DATABASE_URL": request.getfixturevalue("migrated_postgres")} if database == "postgres" else {}
                made = stack.enter_context(tree(tmp_path_factory.mktemp("four") / "enrol", given))
                servers = made.start(*KINDS, *KINDS)
                app = create_app({**CHEAP, "DATABASE_URL": f"sqlite:///{made.instance}/enrol.db", **given})
                stack.callback(dispose, app)
                started[database] = Four(made, servers, app)
            return started[database]

        yield start


@pytest.fixture(params=DATABASES)
def four(request: pytest.FixtureRequest, start_four: Callable[[str], Four]) -> Four:
    """The four server processes, on SQLite and on Postgres."""
    return start_four(request.param)


@pytest.fixture
def wire(migrated_postgres: str) -> Iterator[Wire]:
    """The way to Postgres, which can be cut."""
    made = Wire(migrated_postgres)
    made.open()
    yield made
    made.close()


@pytest.fixture
def wired_api(wire: Wire) -> Iterator[Api]:
    """A caller of an application whose every word with Postgres goes over the wire."""
    app = create_app({**CHEAP, "DATABASE_URL": wire.address, "TESTING": True})
    yield Api(app.test_client(), make_key(app, Permission.USERS_CREATE))
    dispose(app)
