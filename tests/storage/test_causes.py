"""Why the database cannot be used: each cause has its code, and a sentence that says what to do."""

import logging
import shutil
import socket
import sqlite3
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.orm import Session

from app import create_app
from support.application import CHEAP, dispose
from support.command_line import run
from support.pgbouncer import pgbouncer
from support.postgres import own_postgres, run_on_postgres
from support.skips import unavailable
from users.errors import Unavailable
from users.storage import causes, database, driver_errors

SECRET = "hunter2"
RULES = """
local all postgres trust
local all denied reject
local all wrong scram-sha-256
local all guest,single,nologin,missing trust
"""
ROLES = (
    "CREATE ROLE wrong LOGIN PASSWORD 'right'",
    "CREATE ROLE single LOGIN CONNECTION LIMIT 0",
    "CREATE ROLE nologin",
    "CREATE ROLE guest LOGIN",
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a Postgres with rules and roles of its own, without user and database."""
    with own_postgres() as made:
        for statement in ROLES:
            run_on_postgres(made.get_uri(), statement)
        (Path(made.pgdata) / "pg_hba.conf").write_text(RULES)
        run_on_postgres(made.get_uri(), "SELECT pg_reload_conf()")
        yield f"@/{{}}?host={quote(str(made.pgdata), safe='')}"


def sentence_for(url: str) -> str:
    """Return what the operator is told of the database at `url`."""
    app = create_app({**CHEAP, "DATABASE_URL": url})
    with app.app_context(), pytest.raises(Unavailable) as caught:
        database.check()
    dispose(app)
    assert SECRET not in caught.value.hint
    return caught.value.hint


@pytest.mark.xdist_group("causes")
@pytest.mark.parametrize(
    ("user", "name", "words"),
    [
        (f"wrong:{SECRET}", "postgres", "refuses the password in DATABASE_URL, or there is none"),
        ("wrong", "postgres", "refuses the password in DATABASE_URL, or there is none"),
        ("missing", "postgres", "the user in DATABASE_URL does not exist"),
        ("nologin", "postgres", "the user in DATABASE_URL does not exist at"),
        ("denied", "postgres", "Add a line to its pg_hba.conf and reload it"),
        ("stranger", "postgres", "Add a line to its pg_hba.conf and reload it"),
        ("single", "postgres", "has no connection left. Raise its limit"),
        ("guest", "nosuch", "Make it, for example with: createdb --owner=enrol enrol"),
        ("guest", "postgres?options=-cnosuch%3D1&", "refuses nosuch after the ? of DATABASE_URL"),
        ("guest", "postgres?target_session_attrs=standby&", "no host in DATABASE_URL is what its target_session_attrs"),
        ("guest", "postgres?sslmode=perhaps&", "refuses sslmode after the ? of DATABASE_URL"),
    ],
)
def test_refused_by_postgres(server: str, user: str, name: str, words: str) -> None:
    url = f"postgresql://{user}{server.format(name)}"
    if "?" in name:
        url = url.replace("&?", "&")
    assert words in sentence_for(url)


@pytest.mark.xdist_group("causes")
def test_role_without_create(server: str, caplog: pytest.LogCaptureFixture) -> None:
    """Since Postgres 15 only the owner of a database makes tables there; the upgrade says what to grant."""
    app = create_app({**CHEAP, "DATABASE_URL": f"postgresql://guest{server.format('postgres')}"})
    assert run(app.test_cli_runner(), "db", "upgrade").exit_code == 1
    assert "GRANT USAGE, CREATE ON SCHEMA public TO enrol." in caplog.text  # which Flask-Migrate puts on stderr
    dispose(app)


@pytest.mark.xdist_group("causes")
def test_refused_by_pooler(server: str) -> None:
    with pgbouncer(f"postgresql://postgres{server.format('postgres')}") as url:
        assert "refuses options. Leave it out" in sentence_for(f"{url}?options=-cwork_mem%3D64MB")
        assert "the database that DATABASE_URL names after its last /" in sentence_for(f"{url}_not")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for db.example.com that is its own CA, with its key in the same file."""
    if not shutil.which("openssl"):
        unavailable("openssl")
    path = tmp_path_factory.mktemp("tls") / "db.pem"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=db.example.com"]
    line = ["openssl", "req", "-x509", *kind, "-keyout", f"{path}.key", "-out", str(path)]
    subprocess.run(line, check=True, capture_output=True)
    with path.open("a") as file:
        file.write(Path(f"{path}.key").read_text())
    return path


@pytest.fixture
def stranger(request: pytest.FixtureRequest) -> Iterator[int]:
    """A port where one answers the question for TLS with this and, after "S", with the certificate."""
    answer: bytes = request.param
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(request.getfixturevalue("certificate"))
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    with closing(client), suppress(OSError):
                        client.recv(8)
                        client.sendall(answer)
                        context.wrap_socket(client, server_side=True).close()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("stranger", "options", "words"),
    [
        (b"N", "sslmode=require", "speaks no TLS, which sslmode in DATABASE_URL demands"),
        (b"S", "sslmode=verify-ca&sslrootcert={other}", "is not signed by the CA in sslrootcert"),
        (b"S", "sslmode=verify-full&sslrootcert={ca}", "is for another host name"),
        (b"S", "sslmode=verify-full&sslrootcert=/nowhere/ca.pem", "a file for TLS is missing or cannot be read"),
        (b"S", "sslmode=verify-full&sslrootcert={empty}", "a file for TLS is missing or cannot be read"),
        (b"S", "sslmode=require&sslcert={ca}&sslkey=/nowhere/key.pem", "a file for TLS is missing or cannot be read"),
        (b"HTTP/1.1 400\r\n\r\n", "sslmode=require", "is not Postgres. Check the port"),
    ],
    indirect=["stranger"],
)
def test_tls(stranger: int, certificate: Path, tmp_path: Path, options: str, words: str) -> None:
    (tmp_path / "empty.pem").touch()
    other = Path(ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt")
    if not other.exists():
        other = tmp_path / "empty.pem"
    options = options.format(ca=certificate, other=other, empty=tmp_path / "empty.pem")
    told = sentence_for(f"postgresql://u:{SECRET}@127.0.0.1:{stranger}/d?{options}&gssencmode=disable")
    assert words in told
    assert f"127.0.0.1:{stranger}" in told or "a file for TLS" in told


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://u:hunter2@127.0.0.1:1/d", "no server answers at 127.0.0.1:1."),
        ("postgresql://u:hunter2@127.0.0.1:1,127.0.0.1:2/d", "no server answers at 127.0.0.1:2."),
        ("postgresql://u:hunter2@/d?host=/nowhere", "no server answers at /nowhere/.s.PGSQL.5432."),
        ("postgresql://u:hunter2@nosuch.invalid/d", "the host name nosuch.invalid is not known."),
        ("postgresql://u:hunter2@255.255.255.255/d", "255.255.255.255:5432 cannot be reached."),
        ("postgresql://u:hunter2@127.0.0.1:1/d?keepalives=yes", "refuses keepalives after the ?"),
        ("postgresql://u:hunter2@/d?service=nosuch", "refuses an option after the ?"),
        ("sqlite:////nowhere/enrol.db", "its file cannot be opened."),
    ],
)
def test_without_a_server(url: str, words: str) -> None:
    assert words in sentence_for(url)


# What libpq, the server or PgBouncer 1.18 says, where a test would need a server of its own.
TEXTS = [
    ("FATAL:  sorry, too many clients already", "connections"),
    ("FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute", "connections"),
    ("FATAL:  no more connections allowed (max_client_conn)", "connections"),
    ("FATAL:  the database system is starting up", "starting"),
    ("FATAL:  unsupported startup parameter: extra_float_digits", "pooler_option"),
    ("FATAL:  pgbouncer cannot connect to server", "pooler"),
    ("transaction blocks not allowed in statement pooling mode", "pooler_mode"),
    ("FATAL:  query_wait_timeout", "pooler"),
    ('channel binding required, but server authenticated client without "channel binding"', "option"),
    ("connection timeout expired", "unreachable"),
    ("server closed the connection unexpectedly", "lost"),
    ("consuming input failed: SSL SYSCALL error: EOF detected", "lost"),
    ("the connection is closed", "lost"),
    ("FATAL:  PQexec disallowed", "pooler_queries"),
    ("FATAL:  terminating connection due to idle-in-transaction timeout", "session_timeout"),
    ("", "slow"),
    ("FATAL:  Passwort-Authentifizierung für Benutzer »u« fehlgeschlagen", "unknown"),
    ("session is read-only\n- host: 'a': connection failed: Connection refused", "no_primary"),
]


@pytest.mark.parametrize(("text", "code"), TEXTS)
def test_texts(text: str, code: str) -> None:
    """Of an error without a code the text decides; it is never repeated."""
    assert causes.find(psycopg.OperationalError(text)).code == code


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (psycopg.errors.DiskFull, "disk_full"),
        (psycopg.errors.InsufficientPrivilege, "privileges"),
        (psycopg.errors.InvalidSchemaName, "search_path"),
        (psycopg.errors.IdleInTransactionSessionTimeout, "session_timeout"),
        (psycopg.errors.IdleSessionTimeout, "session_timeout"),
        (psycopg.errors.TooManyConnections, "connections"),
        (psycopg.errors.InvalidPassword, "password"),
        (psycopg.errors.InvalidCatalogName, "database"),
        (psycopg.errors.AdminShutdown, "starting"),
        (psycopg.errors.QueryCanceled, "slow"),
        (psycopg.errors.DeadlockDetected, "locked"),
        (psycopg.errors.IoError, "disk"),
        (psycopg.errors.OutOfMemory, "unknown"),
    ],
)
def test_sqlstates(kind: type[psycopg.Error], code: str) -> None:
    """The code of an error decides before its text, which may hold a row."""
    found = causes.find(kind(f'password authentication failed for "{SECRET}"'))
    assert found.code == code
    assert SECRET not in found.sentence


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_serializable_standby(app: Flask) -> None:
    """Through a pooler Enrol cannot set what the role should."""
    refuse = "RAISE feature_not_supported USING MESSAGE = 'cannot use serializable mode in a hot standby'"
    with app.app_context(), pytest.raises(Unavailable) as caught, database.transaction() as session:
        session.execute(text(f"DO $$BEGIN {refuse}; END$$"))
    assert "ALTER ROLE enrol SET default_transaction_isolation = 'read committed'" in caught.value.hint


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_ended_by_the_server(app: Flask) -> None:
    """A limit of the role ends the connection, with a code of the transaction's own class."""

    def wait_too_long(session: Session) -> None:
        session.execute(text("SET LOCAL idle_in_transaction_session_timeout = '1ms'"))
        time.sleep(0.1)
        session.execute(text("SELECT 1"))

    with app.app_context(), pytest.raises(Unavailable), database.transaction() as session:
        wait_too_long(session)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (sqlite3.SQLITE_FULL, "disk_full"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "locked"),
        (sqlite3.SQLITE_CANTOPEN, "file"),
        (sqlite3.SQLITE_NOTADB, "damaged"),
        (sqlite3.SQLITE_IOERR_WRITE, "disk"),
    ],
)
def test_sqlite(number: int, code: str) -> None:
    error: Any = SimpleNamespace(sqlite_errorcode=number)
    assert causes.find(error).code == code


@pytest.mark.parametrize("cause", causes.CAUSES, ids=lambda cause: cause.code)
def test_sentences(cause: causes.Cause) -> None:
    """Each is whole, with and without a server, and says what to do."""
    for found in (cause.found(), cause.found("h:5432", "work_mem")):
        assert found.sentence.endswith(".")
        assert ". " in found.sentence
        assert not {"{", "}"} & set(found.sentence)


def logged(records: list[logging.LogRecord]) -> list[str]:
    """Return the causes in the log."""
    return [vars(one)["fields"]["cause"] for one in records if one.getMessage() == "database_unavailable"]


@pytest.mark.one_database
def test_log(app: Flask, events: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch) -> None:
    """A request's cause is logged, each at most once a second."""

    def fail(code: str) -> None:
        with app.test_request_context():
            driver_errors.unavailable(causes.Found(code, "words"))

    for code in ("refused", "refused", "slow", "refused"):
        fail(code)
    assert logged(events) == ["refused", "slow"]
    monkeypatch.setattr(driver_errors, "_LOG_SECONDS", 0)
    fail("refused")
    assert logged(events) == ["refused", "slow", "refused"]


def test_doctor_and_readiness(capsys: pytest.CaptureFixture[str]) -> None:
    """`flask doctor` prints the sentence; the answer to a request stays as it is, and the log has the code."""
    app = create_app({**CHEAP, "DATABASE_URL": f"postgresql://u:{SECRET}@127.0.0.1:1/d"})
    told = run(app.test_cli_runner(), "doctor")
    assert "FAIL database: The database cannot be used: no server answers at 127.0.0.1:1. Check host" in told.stdout
    assert "database_unavailable" not in told.stderr
    answer = app.test_client().get("/readyz")
    assert (answer.status_code, answer.json) == (503, {"status": "unavailable", "reason": "database"})
    assert capsys.readouterr().err.count('"event": "database_unavailable"') == 1
    dispose(app)
