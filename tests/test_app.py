"""The whole application: headers of proxies, headers for browsers, SQLite's settings, and a start with bad ones."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.test import EnvironBuilder, run_wsgi_app

import app as app_module
from app import create_app, serve
from support.api import Api
from support.application import CHEAP, dispose
from support.databases import rows
from support.people import PASSWORD
from users.settings import TAKES
from users.storage.models import db

pytestmark = pytest.mark.one_database

FORWARDED = {
    "X-Forwarded-For": "198.51.100.9, 203.0.113.5",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
}
# Imported by the pages that need them alone: together they take 150 ms.
LATE = {"cryptography", "fido2", "pyotp", "segno"}
SIGN_IN = """
import sys
from app import create_app
from support.people import make_user
from support.visitors import signed_in
app = create_app({"DATABASE_URL": sys.argv[1]})
visitor = signed_in(app, make_user(app, "jo@example.com"))
assert visitor.get("/account/factors").status_code == 200
print(*sys.modules)
"""
UNUSED = {**CHEAP, "DATABASE_URL": "sqlite:////tmp/enrol.db"}  # of an application that opens no database


def address_in_the_audit_trail(app: Flask, api: Api) -> str:
    """Create a user through proxies and return the IP address in the audit event."""
    body = {"email": "jo@example.com", "password": PASSWORD}
    assert api.call("POST", "/v1/user/", json=body, headers=FORWARDED).status_code == 201
    return str(rows(app, "SELECT address FROM audit_events WHERE action = 'user.create'")[0][0])


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ({}, "127.0.0.1"),
        ({"ENROL_TRUSTED_PROXIES": "1"}, "203.0.113.5"),
        ({"ENROL_TRUSTED_PROXIES": "2"}, "198.51.100.9"),
    ],
)
def test_forwarded_ip_addresses(app: Flask, api: Api, address: str) -> None:
    """Only those of trusted proxies count."""
    assert address_in_the_audit_trail(app, api) == address


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        ({}, False),
        ({"ENROL_PUBLIC_URL": "http://users.example.com"}, False),
        ({"ENROL_PUBLIC_URL": "https://users.example.com"}, True),
        ({"ENROL_TRUSTED_PROXIES": "1"}, True),
    ],
)
def test_https_headers(api: Api, sent: bool) -> None:
    """HTTPS is required only where it is used."""
    for path in ("/v1/user/me", "/nothing"):
        assert ("Strict-Transport-Security" in api.get(path, headers=FORWARDED).headers) is sent


@pytest.mark.parametrize("settings", [{"ENROL_TRUSTED_PROXIES": "1", "ENROL_TRUSTED_HOSTS": "users.example.com"}])
def test_forwarded_host(api: Api) -> None:
    """It is never used."""
    headers = {"Host": "evil.example", "X-Forwarded-Host": "users.example.com"}
    assert api.get("/v1/user/me", headers=headers).status_code == 400


@pytest.mark.parametrize("settings", [{"ENROL_TRUSTED_HOSTS": "Users.Example.com"}])
def test_host_in_capitals(api: Api) -> None:
    for host in ("users.example.com", "USERS.example.COM:8000"):
        assert api.get("/v1/user/me", headers={"Host": host}).status_code == 404


@pytest.mark.one_database
def test_host_that_is_none(app: Flask) -> None:
    """It counts as absent. (The client of Werkzeug cannot read such a host either.)"""
    environ = {**EnvironBuilder(path="/admin/login").get_environ(), "HTTP_HOST": "[:::]:5000"}
    _body, status, _headers = run_wsgi_app(app.wsgi_app, environ)
    assert status == "200 OK"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_sqlite_settings(database_url: str) -> None:
    """Commits are on disk, and foreign keys are checked."""
    app = create_app({**CHEAP, "DATABASE_URL": database_url})  # the fixture's own database does not sync to disk
    found = {name: rows(app, f"PRAGMA {name}")[0][0] for name in ("journal_mode", "synchronous", "foreign_keys")}
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}  # 2 is FULL
    dispose(app)


def test_driver_errors_hide_values(app: Flask) -> None:
    with app.app_context():
        assert db.engine.hide_parameters


@pytest.mark.parametrize("settings", [{"SECRET_KEY_FALLBACKS": "0f" * 6 + "abcdefghijklmnopqrstu"}])
def test_secret_key_fallbacks(app: Flask) -> None:
    assert app.config["SECRET_KEY_FALLBACKS"] == ["0f" * 6 + "abcdefghijklmnopqrstu"]


def test_start_with_a_bad_setting() -> None:
    """One sentence and exit code 1."""
    with pytest.raises(SystemExit) as caught:
        create_app({**UNUSED, "ENROL_PASSWORD_MIN_LENGTH": "6"})
    words = TAKES["ENROL_PASSWORD_MIN_LENGTH"]
    assert caught.value.code == f"Enrol cannot start: ENROL_PASSWORD_MIN_LENGTH cannot be read. It takes {words}."


def test_flask_command_with_a_bad_setting() -> None:
    """The sentence is on stderr, without a traceback."""
    ran = subprocess.run(
        [sys.executable, "-m", "flask", "users", "list"],
        cwd=Path(app_module.__file__).parent,
        env={**os.environ, **UNUSED, "ENROL_LOGFORMAT": "hunter2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("Enrol cannot start: ENROL_LOGFORMAT is not a setting.")
    assert "Traceback" not in ran.stderr
    assert "hunter2" not in ran.stderr


@pytest.mark.parametrize(("parameters", "warned"), [("m=8,t=1,p=1", True), ("m=19456,t=2,p=1", False)])
def test_warning_about_a_weak_hash(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    parameters: str,
    warned: bool,
) -> None:
    """At each start."""
    given = {
        "DATABASE_URL": f"sqlite:///{tmp_path}/enrol.db",
        "ENROL_LOG_FORMAT": "text",  # JSON would change the log of the whole process, and so the tests after this one
        "ENROL_PASSWORD_HASH": parameters,
    }
    for name, value in {**CHEAP, **given}.items():
        monkeypatch.setenv(name, value)
    for _ in range(2):
        dispose(serve())
        assert ("weak_password_hash" in capsys.readouterr().err) is warned


def test_late_imports(migrated_sqlite: Path, tmp_path: Path) -> None:
    """Neither the start nor a sign-in without a second factor waits for the libraries of second factors."""
    shutil.copy(migrated_sqlite, tmp_path / "enrol.db")
    here = Path(app_module.__file__).parent
    environment = {**os.environ, **CHEAP, "PYTHONPATH": f"{here}:{here / 'tests'}"}
    line = [sys.executable, "-c", SIGN_IN, f"sqlite:///{tmp_path}/enrol.db"]
    ended = subprocess.run(line, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    imported = set(ended.stdout.split())
    assert "users.auth.factors.passkeys" in imported
    assert not LATE & imported
