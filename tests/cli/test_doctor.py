"""`flask doctor`: each check is ok, or says what to do."""

import re
import time
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from support.command_line import run
from support.people import make_key, make_user
from users import __version__
from users.passwords import argon2id
from users.roles import Permission, Role


@pytest.mark.parametrize("settings", [{"ENROL_PASSWORD_HASH": "m=19456,t=2,p=1"}])
def test_ok_or_what_to_do(app: Flask, runner: FlaskCliRunner) -> None:
    ill = run(runner, "doctor")
    assert ill.exit_code == 1
    assert "FAIL administrators: There is none. Run: flask setup-link" in ill.stdout
    make_user(app, "ada@example.com", Role.ADMIN)
    well = run(runner, "doctor")
    subjects = [
        "versions",
        "environment",
        "database",
        "instance",
        "secret key",
        "administrators",
        "API keys",
        "password hash",
        "imported hashes",
        "addresses",
        "requests",
        "second factors",
    ]
    assert [line[5:].split(":")[0] for line in well.stdout.splitlines()] == subjects
    assert well.exit_code == 0, well.stdout
    assert f"ok   versions: Enrol {__version__}, Python 3." in well.stdout
    assert re.search(r", argon2-cffi 2\d[\d.]+, argon2-cffi-bindings 2\d[\d.]+ \(\w+\)\n", well.stdout)
    assert re.search(r"ok   database: (sqlite|postgresql) \d+\.[\d.]+, at ", well.stdout)
    assert re.search(r"password hash: argon2id m=19456,t=2,p=1, \d+ ms a hash, \d+ a second", well.stdout)


def test_weak_hash(runner: FlaskCliRunner) -> None:
    assert "FAIL password hash: argon2id m=8,t=1,p=1" in run(runner, "doctor").stdout


@pytest.mark.parametrize("settings", [{"ENROL_HASH_SLOTS": "3", "ENROL_HASH_QUEUE": "0"}])
def test_hashes_in_parallel(runner: FlaskCliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """It measures with as many hashes at once as the service computes."""
    monkeypatch.setattr(argon2id, "hash_of", lambda *_: time.sleep(0.05))
    start = time.monotonic()
    found = re.search(r", (\d+) ms a hash, (\d+) a second \(3 at once\)", run(runner, "doctor").stdout)
    assert time.monotonic() - start < 5
    assert found
    assert int(found[1]) >= 50
    assert 20 < int(found[2]) <= 60, "one alone makes 20"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ENROL_TRUSTED_PROXIES": "1"}, "Set ENROL_PUBLIC_URL."),
        ({"ENROL_PUBLIC_URL": "https://users.example.com"}, "Set ENROL_TRUSTED_PROXIES to 1."),
        (
            {"ENROL_PUBLIC_URL": "http://users.example.com", "ENROL_TRUSTED_HOSTS": "example.com"},
            "Add the host of ENROL_PUBLIC_URL to ENROL_TRUSTED_HOSTS.",
        ),
    ],
)
def test_settings_that_disagree(runner: FlaskCliRunner, words: str) -> None:
    """Proxies, trusted hosts and the public URL must fit together."""
    assert words in run(runner, "doctor").stdout


@pytest.mark.one_database
@pytest.mark.parametrize("settings", [{"ENROL_VERSION": "1", "ENROL_PORT": "tcp://10.0.0.1:80"}])
def test_unknown_variable(runner: FlaskCliRunner) -> None:
    assert "warn environment: ENROL_VERSION is not a setting, so Enrol ignores it.\n" in run(runner, "doctor").stdout


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_files_that_others_can_read(runner: FlaskCliRunner, tmp_path: Path) -> None:
    (tmp_path / "enrol.db").chmod(0o644)
    assert f"Run: chmod 600 {tmp_path / 'enrol.db'}" in run(runner, "doctor").stdout
    for file in tmp_path.glob("enrol.db*"):  # those beside the database took on its mode
        file.chmod(0o600)
    assert "ok   instance" in run(runner, "doctor").stdout
    (tmp_path / "enrol.db.before-0001").touch(0o644)
    assert f"Run: chmod 600 {tmp_path / 'enrol.db.before-0001'}" in run(runner, "doctor").stdout


def test_keys_that_change_no_administrator(app: Flask, runner: FlaskCliRunner) -> None:
    """A change of a user needs all permissions that the user holds; a permission that is new is added to no key."""
    assert "ok   API keys: 0 active\n" in run(runner, "doctor").stdout
    make_key(app, Permission.USERS_CREATE)
    make_key(app, *Permission)
    assert "ok   API keys: 2 active\n" in run(runner, "doctor").stdout
    for number in range(7):
        make_key(app, (Permission.USERS_UPDATE, Permission.USERS_DELETE)[number % 2], name=f"app {number}")
    told = "9 active. Not all permissions, so no change of administrators: app 0, app 1, app 2, app 3, app 4 and 2 more"
    assert f"ok   API keys: {told}\n" in run(runner, "doctor").stdout


def test_keys_of_before_the_new_permissions(app: Flask, runner: FlaskCliRunner) -> None:
    """A key that held all permissions of version 1.0.0 is named: it changes no administrator any more."""
    new = (Permission.HASHES_READ, Permission.USERS_IMPORT)
    make_key(app, *(one for one in Permission if one not in new), name="everything")
    make_key(app, *(one for one in Permission if one != new[0]), name="also imports")
    make_key(app, Permission.USERS_UPDATE, name="updates")
    result = run(runner, "doctor")
    told = (
        "warn API keys: 3 active. Not all permissions, so no change of administrators: updates. They lack hashes:read "
        "and users:import, which are new, and can no longer change administrators: "
    )
    (line,) = [line for line in result.stdout.splitlines() if "API keys" in line]
    assert line.startswith(told)
    names, _, todo = line.removeprefix(told).partition(". ")
    assert set(names.split(", ")) == {"everything", "also imports"}
    assert todo == "Where that is needed, make new keys with all permissions."
