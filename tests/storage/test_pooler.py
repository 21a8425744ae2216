"""What Enrol does through a pooler: a real PgBouncer in transaction mode."""

import re
import socket
import uuid
from collections.abc import Callable
from typing import Any
from unittest import mock

import psycopg
import pytest
from sqlalchemy import make_url, text

from app import create_app
from support.api import Api
from support.application import CHEAP, dispose, migrate
from support.command_line import run
from support.pgbouncer import pgbouncer
from support.postgres import run_on_postgres
from users.rules import key_format
from users.storage import database, idle_connections, schema_version
from users.storage.models import db


def test_upgrade(empty_postgres: str) -> None:
    """A migration may take longer than the role allows a statement; afterwards the role's limit holds again."""
    run_on_postgres(empty_postgres, f"ALTER DATABASE {make_url(empty_postgres).database} SET statement_timeout = '7s'")
    with pgbouncer(empty_postgres, size=2) as url:
        migrate(url)
        others = [psycopg.connect(url, prepare_threshold=None) for _ in range(2)]  # both sessions of the pooler
        assert [other.execute("SHOW statement_timeout").fetchone() for other in others] == [("7s",)] * 2
        for other in others:
            other.close()


def test_ping(pooled_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was idle is pinged, and used again."""
    monkeypatch.setattr(idle_connections, "PING_AFTER_SECONDS", 0)
    app = create_app({**CHEAP, "DATABASE_URL": pooled_url})
    with app.app_context():
        with mock.patch.object(db.engine.dialect, "do_ping", wraps=db.engine.dialect.do_ping) as ping:
            used = set()
            for _ in range(3):
                with database.reading() as session:
                    session.scalar(text("SELECT 1"))
                    used.add(id(session.connection().connection.driver_connection))
        assert (len(used), ping.called) == (1, True)
    dispose(app)


def test_pooler_started_again(emptied_postgres: Callable[[], str]) -> None:
    """The caller does not notice it."""
    direct = emptied_postgres()
    with pgbouncer(direct) as url:
        app = create_app({**CHEAP, "DATABASE_URL": url})
        stranger = Api(app.test_client(), key_format.new_key())
        assert stranger.get("/v1/user/me").status_code == 401
        port = make_url(url).port
    assert stranger.get("/v1/user/me").status_code == 503
    with pgbouncer(direct, port=port):
        assert stranger.get("/v1/user/me").status_code == 401
    dispose(app)


def test_statement_mode(emptied_postgres: Callable[[], str]) -> None:
    """It cannot work, and Enrol says what to set."""
    with pgbouncer(emptied_postgres(), mode="statement") as url:
        app = create_app({**CHEAP, "DATABASE_URL": url})
        assert "Set pool_mode = transaction there." in run(app.test_cli_runner(), "users", "list").stderr
        dispose(app)


def test_pooler_without_postgres() -> None:
    """It answers, but nothing behind it does."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        away = f"postgresql://enrol@127.0.0.1:{found.getsockname()[1]}/enrol"
    with pgbouncer(away) as url:
        app = create_app({**CHEAP, "DATABASE_URL": url})
        ready = app.test_client().get("/readyz")
        assert (ready.status_code, ready.json) == (503, {"status": "unavailable", "reason": "database"})
        dispose(app)


def test_doctor_checks_the_role(emptied_postgres: Callable[[], str], emptying: "psycopg.Connection[Any]") -> None:
    """Through a pooler the role must set what Enrol cannot; the statements in the sentence do it."""
    role = f"Enrol-{uuid.uuid4().hex}"
    emptying.execute(f'CREATE ROLE "{role}" LOGIN SUPERUSER; ALTER ROLE "{role}" SET lock_timeout = \'5s\''.encode())
    emptying.execute(f'ALTER ROLE "{role}" SET synchronous_commit = off'.encode())
    url = make_url(emptied_postgres()).set(username=role).render_as_string(hide_password=False)
    ill = _doctor_through_a_pooler(url)
    told = rf"warn database: postgresql [\d.]+, at {schema_version.HEAD}, through a pooler, nothing prepared\. "
    assert re.match(told, ill)
    statements = ill.partition("the pooler: ")[2]
    assert statements.split("; ") == [
        f"ALTER ROLE \"{role}\" SET lock_timeout = '0'",
        f"ALTER ROLE \"{role}\" SET statement_timeout = '4s'",
        f"ALTER ROLE \"{role}\" SET synchronous_commit = 'on'",
    ]
    run_on_postgres(url, statements)
    assert _doctor_through_a_pooler(url).startswith("ok ")
    emptying.execute(f'DROP ROLE "{role}"'.encode())


def _doctor_through_a_pooler(url: str) -> str:
    with pgbouncer(url) as pooled:
        app = create_app({**CHEAP, "DATABASE_URL": pooled})
        lines = run(app.test_cli_runner(), "doctor").stdout.splitlines()
        dispose(app)
    return str(next(line for line in lines if " database:" in line))
