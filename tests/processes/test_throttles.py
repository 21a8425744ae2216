"""Throttles of two processes: they count together, and a restart keeps the counts."""

import re
import threading
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection

import pytest
from flask import Flask

from app import create_app
from support.application import CHEAP, dispose
from support.databases import DATABASES, execute, rewrite_audit
from support.guessers import WRONG, outcomes
from support.installations import Installation, installed
from support.people import PASSWORD, make_user
from support.servers import Server
from support.visitors import LOGIN
from users.roles import Role


@dataclass
class Two:
    """Two server processes on one database, and the application in this process."""

    tree: Installation
    servers: list[Server]
    app: Flask


@pytest.fixture(params=DATABASES)
def two(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    """Two servers on SQLite and on Postgres, with Ada."""
    given = {}
    if request.param == "postgres":
        given = {"DATABASE_URL": request.getfixturevalue("emptied_postgres")()}
    with installed(tmp_path_factory.mktemp("two") / "enrol", given) as made:
        servers = made.start("granian", "flask")
        key = {"SECRET_KEY": (made.instance / "secret_key").read_text()}
        app = create_app({**CHEAP, "DATABASE_URL": f"sqlite:///{made.instance}/enrol.db", **given, **key})
        rewrite_audit(app, "DELETE FROM audit_events")
        for table in ("throttles", "admin_sessions", "api_keys", "users"):
            execute(app, f"DELETE FROM {table}")
        make_user(app, "ada@example.com", Role.ADMIN)
        yield Two(made, servers, app)
        dispose(app)


def send(server: Server, password: str, forwarded: str = "") -> int:
    """Sign in as Ada at a server process and return the status."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", LOGIN)
    page = connection.getresponse()
    (token,) = re.findall(r'name="csrf_token" value="([^"]+)"', page.read().decode())
    form = urllib.parse.urlencode({"email": "ada@example.com", "password": password, "csrf_token": token})
    cookie = (page.headers["Set-Cookie"] or "").partition(";")[0]
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookie, "X-Forwarded-For": forwarded}
    connection.request("POST", LOGIN, form, headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def test_two_processes(two: Two) -> None:
    """Two processes check ten attempts together, and a restart keeps the counts."""
    together = threading.Barrier(24)

    def guess(number: int) -> int:
        together.wait()
        return send(two.servers[number % 2], WRONG, forwarded=f"203.0.113.{number}")

    with ThreadPoolExecutor(24) as pool:
        assert Counter(pool.map(guess, range(24))) == {422: 10, 429: 14}
    for server in two.servers:
        server.end()
    (again,) = two.tree.start("granian")
    assert send(again, PASSWORD) == 429
    assert Counter(outcomes(two.app)) == {"refused": 10, "throttled": 1}
    execute(two.app, "UPDATE throttles SET refilled_at = '2026-01-01 00:00:00.000000'")  # the five minutes are over
    assert send(again, PASSWORD) == 303
    assert not [server.log() for server in (*two.servers, again) if "unexpected_error" in server.log()]
