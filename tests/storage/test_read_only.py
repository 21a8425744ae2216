"""A database that can be read and takes no writes: a standby, a setting of Postgres, a protected file or disk."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from app import create_app
from support import password_links
from support.api import Answer, Api
from support.application import CHEAP, dispose
from support.command_line import run
from support.databases import every_session, read_only, rows, statements
from support.page_forms import EVERY_FIELD, fields_of
from support.people import PASSWORD
from support.skips import unavailable
from support.visitors import LOGIN, Visitor, problems_in, summary_in
from users import __version__
from users.storage import database, driver_errors, postgres, upgrade

pytestmark = pytest.mark.usefixtures("impatient")

NOT_READY = (503, {"status": "unavailable", "reason": "read-only"})
READY = (200, {"status": "ok", "version": __version__})
BODY = {"email": "jo@example.com", "password": PASSWORD}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections from while the database was read-only are given up at once, and each write is tried."""
    for module in (database, postgres):
        monkeypatch.setattr(module, "READ_ONLY_SECONDS", 0)


def readiness(api: Api, query: str = "") -> tuple[int, object]:
    """Return the status and the body of /readyz."""
    answer = api.get(f"/readyz{query}")
    return answer.status_code, answer.json


@pytest.mark.parametrize("query", ["", "?for=writes", "?for=", "?for=READS", "?for=writes&for=reads", "?to=reads"])
def test_not_ready_but_for_reads(app: Flask, api: Api, query: str) -> None:
    """Any other value of `for` asks for writes too."""
    with read_only(app):
        assert readiness(api, query) == NOT_READY
        assert readiness(api, "?for=reads") == READY
        assert api.get("/v1/user/").status_code == 200


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_user_without_rights_to_write(app: Flask, api: Api, runner: FlaskCliRunner) -> None:
    """The probe and doctor tell it before a create does."""
    with every_session(app, "SET ROLE pg_read_all_data"):
        assert readiness(api) == (503, {"status": "unavailable", "reason": "database"})
        assert readiness(api, "?for=reads") == READY
        assert "may not create, change or read tables" in run(runner, "doctor").stdout
        assert api.create().status_code == 503


def test_ready_again(app: Flask, api: Api) -> None:
    """The probe alone finds that the database takes writes again: a process that is not ready gets no requests."""
    assert readiness(api) == READY
    with read_only(app):
        assert readiness(api, "?for=reads") == READY  # this connection is in the pool
    assert readiness(api) == NOT_READY
    assert readiness(api) == READY
    assert api.create().status_code == 201


def comparable(answer: Answer) -> dict[str, object]:
    """Return an error without its trace id and time."""
    return {**answer.json["error"], "trace_id": "", "timestamp": ""}


def test_reads_try_no_write_each(app: Flask, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many reads by a key, one tries to note its use. A write that must be is tried all the same."""
    monkeypatch.setattr(database, "READ_ONLY_SECONDS", 60)
    with read_only(app):
        with statements(app) as asked:
            for _ in range(5):
                assert api.get("/v1/user/").status_code == 200
        assert sum(statement.startswith(("BEGIN IMMEDIATE", "UPDATE api_keys")) for statement in asked) == 1
        assert api.create().status_code == 503
    assert api.create().status_code == 201


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "once"}])
def test_validate_only_tells_the_same(app: Flask, api: Api, headers: dict[str, str]) -> None:
    """A body that is invalid is told so by both."""
    with read_only(app):
        for body in (BODY, {**BODY, "email": "jo"}):
            asked, real = (
                api.call("POST", f"/v1/user/{query}", json=body, headers=headers)
                for query in ("?validate_only=true", "")
            )
            assert asked.status_code == real.status_code == (503 if body == BODY else 422)
            assert comparable(asked) == comparable(real)
            assert asked.headers.get("Retry-After") == real.headers.get("Retry-After")
    assert api.create().status_code == 201


def test_form_keeps_what_was_typed(app: Flask, ada: Visitor) -> None:
    token = ada.token("/admin/users/new")
    with read_only(app):
        page = ada.create(token=token, email="jo@example.com", first_name="Jo")
        assert page.status_code == 503
        assert page.headers["Retry-After"]
        assert "The database is read-only at the moment, so nothing was saved." in summary_in(page)
        assert problems_in(page) == []
        assert 'value="jo@example.com"' in page.text
        assert 'value="Jo"' in page.text
        assert PASSWORD not in page.text
        assert ada.get("/admin/users").status_code == 200
    assert rows(app, "SELECT 1 FROM users WHERE email = 'jo@example.com'") == []


@pytest.mark.one_database
def test_every_form(app: Flask, ada: Visitor, changing: list[str]) -> None:
    """Each says it, but for those that are refused for another reason first."""
    token = ada.token("/account")
    with app.app_context():
        link = password_links.invite().token
    with read_only(app):
        answers = {path: ada.post(path, token=token, link=link, **EVERY_FIELD) for path in changing}
    assert (fields_of(answers["/password"])["link"], answers["/password"].headers["Retry-After"]) == (link, "5")
    told = [path for path, page in answers.items() if "The database is read-only at the moment" in summary_in(page)]
    assert [path for path, page in answers.items() if page.status_code == 503] == told
    refused = [path.rpartition("/")[2] for path in changing if path not in told]
    # Ada's new factor has had no code yet, she has no passkey, and she need not choose a new password. Her act has made
    # no links, her import neither asks what its columns mean nor has ended, and she chooses no users and no file.
    of_account = ["activate", "codes", "passkey-options", "password"]
    of_many = ["links", "columns", "undo"]
    assert refused == [*of_account, *of_many, "factor", "users", "edit", "import", "setup", "verify"]


def test_sign_in(app: Flask, visitor: Visitor) -> None:
    """It writes: an attempt is counted."""
    token = visitor.token()
    with read_only(app):
        page = visitor.post(LOGIN, token=token, email="ada@example.com", password=PASSWORD)
        assert page.status_code == 503
        assert "read-only at the moment, so nothing was saved" in summary_in(page)


def test_commands(app: Flask, runner: FlaskCliRunner, caplog: pytest.LogCaptureFixture) -> None:
    """They say it in their sentence; those that read work."""
    with read_only(app):
        assert f"FAIL database: {driver_errors.TAKES_NO_WRITES}" in run(runner, "doctor").stdout
        assert run(runner, "users", "list").exit_code == 0
        for command in (
            ["users", "create", "jo@example.com", "--generate-password"],
            ["keys", "create", "ci", "--scope", "users:read"],
        ):
            ended = run(runner, *command)
            assert (ended.exit_code, ended.stderr, ended.stdout) == (1, f"{driver_errors.TAKES_NO_WRITES}\n", "")
        assert run(runner, "db", "upgrade").exit_code == 0, "there is nothing to do"
        assert run(runner, "db", "downgrade", "0007").exit_code == 1
    assert f"Error: {driver_errors.TAKES_NO_WRITES}" in caplog.text


def test_start(app: Flask, capsys: pytest.CaptureFixture[str]) -> None:
    with read_only(app):
        assert upgrade.prepare(app), "it can be read"
    assert capsys.readouterr().err == f"{driver_errors.TAKES_NO_WRITES}\n"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_another_writer_is_no_such_thing(app: Flask, api: Api) -> None:
    """And the check does not wait for it."""
    with app.app_context(), database.transaction():
        assert readiness(api) == READY


@pytest.fixture
def protected(tmp_path: Path, migrated_sqlite: Path) -> Iterator[Path]:
    """A SQLite file on a disk that is mounted read-only."""
    if os.geteuid() != 0:
        unavailable("root, to mount a disk read-only")
    folder = tmp_path / "disk"
    folder.mkdir()
    shutil.copy(migrated_sqlite, folder / "enrol.db")
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
    yield folder / "enrol.db"
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_disk_mounted_read_only(protected: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file in WAL mode cannot even be read there: it needs a place for its -shm."""
    app = create_app({**CHEAP, "DATABASE_URL": f"sqlite:///{protected}", "TESTING": True})
    stranger = Api(app.test_client(), None)
    assert readiness(stranger) == readiness(stranger, "?for=reads") == NOT_READY
    capsys.readouterr()
    assert not upgrade.prepare(app)
    assert capsys.readouterr().err == f"{driver_errors.TAKES_NO_WRITES}\n"
    dispose(app)
