"""Hosts on one database must share a secret key: one with another key is not ready, and says so."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import pytest
from flask import Flask

from app import create_app
from support.api import Api
from support.application import CHEAP, dispose
from support.command_line import run
from support.databases import execute, read_only, rows
from support.people import make_user
from users import __version__, clock
from users.cli import first_run
from users.roles import Role
from users.services import secret_key_checks
from users.settings import load
from users.storage import database

A, B, C = ("0123456789abcdef" * 2 + letter for letter in "abc")
READY = (200, {"status": "ok", "version": __version__})
NOT_READY = (503, {"status": "unavailable", "reason": "secret_key"})

Host = Callable[..., Flask]


@pytest.fixture
def host(app: Flask) -> Iterator[Host]:
    """A function that returns a host with this key and these older ones on the database of `app`."""
    made: list[Flask] = []

    def start(key: str, *older: str) -> Flask:
        given = {"SECRET_KEY": key, "SECRET_KEY_FALLBACKS": ",".join(older), "TESTING": True}
        made.append(create_app({**CHEAP, "DATABASE_URL": app.config["SQLALCHEMY_DATABASE_URI"], **given}))
        return made[-1]

    yield start
    for one in made:
        dispose(one)


def readiness(host: Flask, query: str = "") -> tuple[int, object]:
    """Return the status and the body of /readyz."""
    answer = Api(host.test_client(), None).get(f"/readyz{query}")
    return answer.status_code, answer.json


def kept(app: Flask) -> int:
    """Return how many check values there are."""
    return len(rows(app, "SELECT value FROM secret_key_checks"))


def test_first_key_is_the_right_one(app: Flask, host: Host) -> None:
    """The others answer requests as before, and are ready for reads no more than for writes."""
    first, same, other = host(A), host(A), host(B)
    assert readiness(first) == readiness(same) == READY
    assert readiness(other) == readiness(other, "?for=reads") == NOT_READY
    assert kept(app) == 1
    assert other.test_client().get("/admin/login").status_code == 200


def test_value_does_not_tell_the_key(app: Flask, host: Host) -> None:
    readiness(host(A))
    ((value,),) = rows(app, "SELECT value FROM secret_key_checks")
    assert len(value) == 32
    assert A.encode() not in bytes(value)


def test_change_on_one_host_after_another(app: Flask, host: Host) -> None:
    old = host(A)
    assert readiness(old) == READY
    new = host(B, A)
    assert readiness(new) == readiness(old) == READY
    assert readiness(host(B)) == READY, "the older key is dropped"
    assert kept(app) == 2
    newest = host(C, B)
    assert readiness(newest) == readiness(new) == READY
    assert readiness(old) == NOT_READY, "of three, the oldest goes"
    assert kept(app) == 2


def test_fallback_alone_makes_no_other_host_ready(host: Host) -> None:
    assert readiness(host(A)) == READY
    assert readiness(host(B, C)) == NOT_READY


def test_hosts_that_start_at_once(app: Flask, host: Host) -> None:
    """Of four hosts with two keys, those with one of them are ready."""
    for _ in range(5):
        execute(app, "DELETE FROM secret_key_checks")
        hosts = [host(A), host(B), host(A), host(B)]
        barrier = Barrier(len(hosts))

        def start(one: Flask, barrier: Barrier = barrier) -> bool:
            with one.app_context():
                barrier.wait()
                return secret_key_checks.introduce(wait=True)

        with ThreadPoolExecutor(len(hosts)) as pool:
            told = list(pool.map(start, hosts))
        assert told in ([True, False, True, False], [False, True, False, True])
        assert kept(app) == 1


def test_read_only_database(app: Flask, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be added, and only a key that is not known is told."""
    monkeypatch.setattr(database, "READ_ONLY_SECONDS", 0)
    first, other, newer = host(A), host(B), host(B, A)
    with read_only(first):
        assert readiness(first, "?for=reads") == READY, "the database knows no key"
    dispose(first)
    assert readiness(first) == READY
    for one, told in ((first, READY), (newer, READY), (other, NOT_READY)):
        with read_only(one):
            assert readiness(one, "?for=reads") == told
            assert readiness(one) == (503, {"status": "unavailable", "reason": "read-only"})
    assert kept(app) == 1


def test_start_says_so(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    for key, told in ((A, False), (A, False), (B, True)):
        first_run.print_first_steps(host(key))
        assert (secret_key_checks.UNKNOWN in capsys.readouterr().err) is told


def test_doctor_says_so(app: Flask, host: Host) -> None:
    """Neither it nor another command makes its key known."""
    make_user(app, "ada@example.com", Role.ADMIN)
    other = host(B)
    assert "ok   secret key: in SECRET_KEY\n" in run(other.test_cli_runner(), "doctor").stdout
    for command in (["users", "list"], ["db", "upgrade"], ["keys", "create", "ci", "--scope", "users:read"]):
        assert run(other.test_cli_runner(), *command).exit_code == 0
    assert kept(app) == 0
    assert readiness(host(A)) == READY
    ended = run(other.test_cli_runner(), "doctor")
    assert f"FAIL secret key: in SECRET_KEY. {secret_key_checks.UNKNOWN}\n" in ended.stdout
    assert ended.exit_code == 1
    assert "ok   secret key" in run(host(C, A).test_cli_runner(), "doctor").stdout
    assert kept(app) == 1


def test_adopt_key(app: Flask, host: Host) -> None:
    first, other = host(A), host(B)
    for one in (first, host(C, A)):
        assert readiness(one) == READY
    assert readiness(other) == NOT_READY
    ended = run(other.test_cli_runner(), "db", "adopt-key", "--yes")
    assert (ended.exit_code, ended.stdout) == (0, ""), ended.stderr
    assert readiness(other) == READY
    assert readiness(first) == NOT_READY
    assert kept(app) == 1
    assert rows(app, "SELECT action, actor_kind, target_id FROM audit_events") == [
        ("secret_key.adopt", "terminal", None)
    ]


@pytest.mark.one_database
@pytest.mark.parametrize(("answer", "adopted"), [("y\n", True), ("n\n", False), ("\n", False), (None, False)])
def test_adopt_key_asks(host: Host, monkeypatch: pytest.MonkeyPatch, answer: str | None, adopted: bool) -> None:
    """Without a terminal it asks for --yes."""
    monkeypatch.setattr("users.cli.prompts.has_terminal", lambda: answer is not None)
    assert readiness(host(A)) == READY
    other = host(B)
    ended = run(other.test_cli_runner(), "db", "adopt-key", stdin=answer or "")
    assert "password and verification links do\nnot work" in ended.stderr
    assert ended.exit_code == (0 if adopted else 2 if answer is None else 1)
    assert readiness(other) == (READY if adopted else NOT_READY)


@pytest.mark.one_database
def test_secret_key_file_that_was_replaced(app: Flask, tmp_path: Path) -> None:
    """A single installation on SQLite notices it too."""
    folder = tmp_path / "instance"
    folder.mkdir()
    url = {"DATABASE_URL": app.config["SQLALCHEMY_DATABASE_URI"], "TESTING": True}
    before = create_app({**CHEAP, **url, "SECRET_KEY": load({}, folder).secret_key})
    (folder / "secret_key").unlink()
    after = create_app({**CHEAP, **url, "SECRET_KEY": load({}, folder).secret_key})
    assert readiness(before) == READY
    assert readiness(after) == NOT_READY
    for one in (before, after):
        dispose(one)


def test_clocks_that_differ(app: Flask, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose clock is behind is ready all the same; its key counts as the oldest."""
    assert readiness(host(A)) == READY
    behind, now = host(B, A), clock.now() - timedelta(hours=1)
    with monkeypatch.context() as patch:
        patch.setattr(clock, "now", lambda: now)
        assert readiness(behind) == READY
    assert readiness(behind) == READY
    assert kept(app) == 2
