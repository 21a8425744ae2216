"""A start takes seconds and ends in a service or in one sentence that says what to do, whatever is missing."""

import json
import socket
import stat
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from app import create_app
from support.application import CHEAP, dispose, migrate
from support.installations import Installation, installed
from support.people import PASSWORD, make_key
from support.postgres_wire import Wire
from support.servers import BIN, KINDS, Reply, Server
from users.roles import Permission
from users.rules import key_format
from users.storage import schema_version

USER = {"email": "jo@example.com", "password": PASSWORD}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Installation]:
    """A copy of the application with a new instance folder; its servers are ended with the test."""
    with installed(tmp_path / "enrol") as made:
        yield made


@pytest.fixture
def wire(empty_postgres: str) -> Iterator[Wire]:
    """The way to an empty database on Postgres, not open yet: nothing listens."""
    made = Wire(empty_postgres)
    yield made
    made.close()


def create(server: Server, key: str) -> Reply:
    """Create the user of these tests."""
    return server.call("POST", "/v1/user/", key=key, body=USER)


def new_key(url: str) -> str:
    """Return a key made without the server in the database at `url`."""
    app = create_app({**CHEAP, "DATABASE_URL": url})
    key = make_key(app, Permission.USERS_CREATE)
    dispose(app)
    return key


def assert_unavailable(reply: Reply) -> None:
    """Hold `reply` to the contract's 503."""
    assert (reply.status, reply.code) == (503, "SERVICE_UNAVAILABLE")
    assert reply.json["error"]["type"] == "server_error"
    assert int(reply.headers["Retry-After"]) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_new_folder(here: Installation, kind: str) -> None:
    """A new folder is served within seconds, and its files are private."""
    server = here.start(kind)[0]
    assert server.seconds_to_first_answer < 30  # a second or two is normal; other tests may keep every core busy
    made = {path.name: stat.S_IMODE(path.stat().st_mode) for path in here.instance.iterdir()}
    assert {"enrol.db", "secret_key"} <= set(made)
    assert set(made.values()) == {0o600}
    created = here.flask("keys", "create", "test", "--scope", "users:create")
    assert created.returncode == 0, created.stderr
    assert create(server, created.stdout.strip()).status == 201


def test_secret_key_race(here: Installation) -> None:
    """Four processes that find no secret key at the same moment make one."""
    look = (
        "import time, sys; from app import serve\n"
        "time.sleep(max(0, float(sys.argv[1]) - time.time()))\n"
        "print(serve().secret_key)"
    )
    moment = str(time.time() + 2)
    lines = [[sys.executable, "-c", look, moment]] * 4
    found = here.run_together(lines)
    assert {process.returncode for process in found} == {0}, found
    assert {process.stdout for process in found} == {(here.instance / "secret_key").read_text() + "\n"}
    assert sum(f"Database brought to {schema_version.HEAD}." in process.stderr for process in found) == 1


def test_reloader(here: Installation) -> None:
    """With the reloader, the server starts and prints its first steps once."""
    (server,) = here.start("flask", options=("--debug",))
    assert server.log().count("No administrator yet") == 1
    assert server.log().count("No API key yet") == 1
    assert server.log().count(f"Database brought to {schema_version.HEAD}.") == 1
    assert "Debugger is active" in server.log()


def _command(here: Installation, door: str) -> list[str]:
    return here.command(door)[0] if door in KINDS else [str(BIN / "flask"), "users", "list"]


@pytest.mark.parametrize(
    ("door", "name", "value"),
    [
        ("flask", "ENROL_TRUSTED_PROXIES", "many"),
        ("granian", "ENROL_TRUSTED_PROXIES", "many"),
        ("users list", "ENROL_PASWORD_MIN_LENGTH", "eleven"),
    ],
)
def test_bad_setting(here: Installation, door: str, name: str, value: str) -> None:
    """A setting that cannot be read stops the start, with its name."""
    ended = here.run(_command(here, door), **{name: value})
    sentence = _only_sentence(door, ended.stderr)
    assert sentence.startswith(f"Enrol cannot start: {name} ")
    assert value not in sentence
    assert ended.returncode == 1


@pytest.mark.parametrize("door", ["granian", "users list"])
def test_unwritable_folder(here: Installation, door: str) -> None:
    """An `instance/` that cannot be written stops the start."""
    here.instance.rmdir()
    here.instance.touch()  # a file in its place: not even root can write in it
    ended = here.run(_command(here, door))
    sentence = _only_sentence(door, ended.stderr)
    assert sentence.startswith(f"Enrol cannot start: The folder {here.instance} must be there and writable")
    assert "set both DATABASE_URL and SECRET_KEY" in sentence
    assert ended.returncode == 1


def _only_sentence(door: str, stderr: str) -> str:
    """Return the only sentence said. The production server writes it as JSON.

    That server starts a worker that ended once more, which says it once more.
    """
    lines = stderr.splitlines()
    told = [json.loads(line) for line in lines] if door == "granian" else []
    (sentence,) = {line["message"] for line in told if "logger" not in line} or lines
    return str(sentence)


def _causes(stderr: str) -> list[str]:
    """Return the sentences that say why the database cannot be used."""
    return [line for line in stderr.splitlines() if "The database cannot be used: " in line]


def test_postgres_away_at_the_start(here: Installation, wire: Wire, empty_postgres: str) -> None:
    """A server that starts without its Postgres answers 503, and serves once Postgres is there."""
    here.environment["DATABASE_URL"] = wire.url
    (server,) = here.start("granian")
    (sentence,) = _causes(server.log())
    assert "no server answers at 127.0.0.1:" in sentence
    assert_unavailable(create(server, key_format.new_key()))
    for command in (["users", "list"], ["db", "upgrade"]):
        ended = here.flask(*command)
        assert ended.returncode == 1
        assert "no server answers at 127.0.0.1:" in _causes(ended.stderr)[-1]
        assert "Traceback" not in ended.stderr
    migrate(empty_postgres)
    key = new_key(empty_postgres)
    wire.open()
    assert create(server, key).status == 201
    wire.close()
    assert_unavailable(create(server, key))
    assert "Traceback" not in server.log()
    assert "unexpected_error" not in server.log()


def test_old_schema_at_the_start(here: Installation, empty_postgres: str) -> None:
    """A server that starts on an old schema answers 503, and serves after the upgrade."""
    here.environment["DATABASE_URL"] = empty_postgres
    (server,) = here.start("granian")
    assert server.log().count(schema_version.BEHIND) == 1
    assert_unavailable(create(server, key_format.new_key()))
    ended = here.flask("users", "list")
    assert (ended.returncode, ended.stderr) == (1, schema_version.BEHIND + "\n")
    ended = here.flask("db", "upgrade")
    assert ended.returncode == 0, ended.stderr
    assert create(server, new_key(empty_postgres)).status == 201


def test_postgres_user_without_rights(here: Installation, empty_postgres: str) -> None:
    """A Postgres user without rights is reported in one sentence."""
    name = f"guest_{uuid.uuid4().hex}"
    with psycopg.connect(empty_postgres, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{name}'".encode())
        try:
            here.environment["DATABASE_URL"] = as_user(empty_postgres, name)
            ended = here.flask("db", "upgrade")  # since Postgres 15 only the owner makes tables
            assert ended.returncode == 1
            assert "GRANT USAGE, CREATE ON SCHEMA" in _causes(ended.stderr)[-1]
            migrate(empty_postgres)
            (server,) = here.start("granian")
            (sentence,) = _causes(server.log())
            assert "GRANT USAGE, CREATE ON SCHEMA" in sentence
            assert_unavailable(create(server, key_format.new_key()))
            assert "unexpected_error" not in server.log()
        finally:
            here.end()
            connection.execute(f"DROP ROLE {name}".encode())


def as_user(url: str, name: str) -> str:
    """Return the URL of the same database for another user, whose password is the name."""
    return make_url(url).set(username=name, password=name).render_as_string(hide_password=False)


def test_silent_postgres(here: Installation) -> None:
    """A Postgres that accepts connections but never answers delays the start by seconds only."""
    with socket.create_server(("127.0.0.1", 0)) as mute:  # connections are made, and nothing is ever said
        here.environment["DATABASE_URL"] = f"postgresql://enrol@127.0.0.1:{mute.getsockname()[1]}/enrol"
        (server,) = here.start("granian")
        assert server.seconds_to_first_answer < 30  # it waits two seconds for the connection, not for good
        (sentence,) = _causes(server.log())
        assert "cannot be reached" in sentence
        reply = create(server, key_format.new_key())
        assert_unavailable(reply)
        assert reply.seconds < 6


def test_missing_sqlite_folder(here: Installation, tmp_path: Path) -> None:
    """A SQLite file in a missing folder is served once the folder is there."""
    folder = tmp_path / "later"
    here.environment["DATABASE_URL"] = f"sqlite:///{folder}/enrol.db"
    (server,) = here.start("granian")
    (sentence,) = _causes(server.log())
    assert "its file cannot be opened" in sentence
    assert_unavailable(create(server, key_format.new_key()))
    ended = here.flask("db", "upgrade")
    assert ended.returncode == 1
    assert "its file cannot be opened" in _causes(ended.stderr)[-1]
    assert "Traceback" not in ended.stderr
    folder.mkdir()
    ended = here.flask("db", "upgrade")
    assert ended.returncode == 0, ended.stderr
    assert create(server, new_key(here.environment["DATABASE_URL"])).status == 201
    assert "unexpected_error" not in server.log()


def test_no_sqlite_database(here: Installation, tmp_path: Path) -> None:
    """A file that is no SQLite database is reported in one sentence."""
    path = tmp_path / "odd.db"
    path.write_bytes(b"no database " * 400)
    here.environment["DATABASE_URL"] = f"sqlite:///{path}"
    (server,) = here.start("granian")
    (sentence,) = _causes(server.log())
    assert "its file" in sentence
    assert_unavailable(create(server, key_format.new_key()))
    ended = here.flask("db", "upgrade")
    assert ended.returncode == 1
    assert "its file" in _causes(ended.stderr)[-1]
    assert "Traceback" not in ended.stderr + server.log()


def _last_line(text: str) -> str:
    return text.splitlines()[-1].removeprefix("Error: ")
