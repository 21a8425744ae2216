"""The links that commands print: to choose a password, and to verify an email."""

import json
import re
from datetime import datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from support.api import Api
from support.command_line import run
from support.databases import rows
from support.people import Cast, make_key
from support.visitors import Visitor
from users import clock
from users.roles import Permission

BASE = "https://users.example.com"
AT = ("--base-url", BASE)
TOKEN = r"usr_[0-9a-f]{32}\.\d+\.[\w-]{43}"


def status_of(app: Flask, url: str) -> int:
    """Return the status of the page of a link, once it has its cookie."""
    visitor = Visitor(app.test_client())
    assert visitor.get(url.removeprefix(BASE)).status_code == 303
    return int(visitor.get(re.sub(r"\?.*", "", url.removeprefix(BASE))).status_code)


def lifetime(members: dict[str, str]) -> timedelta:
    """Return how long a link works that was just made."""
    left = datetime.fromisoformat(members["expires_at"]) - clock.now()
    return timedelta(minutes=round(left / timedelta(minutes=1)))


def test_invitation(app: Flask, runner: FlaskCliRunner) -> None:
    """The URL is alone on stdout, and it works; the user has no password."""
    options = ("--first-name", "Jo", "--role", "role_operator", "--link", *AT)
    made = run(runner, "users", "create", "jo@example.com", *options)
    assert made.exit_code == 0
    assert re.fullmatch(rf"{BASE}/password\?token={TOKEN}\n", made.stdout)
    assert "It works once, until " in made.stderr
    assert status_of(app, made.stdout.strip()) == 200
    (user,) = rows(app, "SELECT password_hash, first_name, global_role_id FROM users")
    assert tuple(user) == ("", "Jo", "role_operator")
    actions = [row.action for row in rows(app, "SELECT action FROM audit_events ORDER BY id")]
    assert actions == ["user.create", "password_link.create"]


@pytest.mark.one_database
@pytest.mark.parametrize("settings", [{"ENROL_PUBLIC_URL": BASE}])
def test_invitation_as_json(app: Flask, runner: FlaskCliRunner) -> None:
    printed = run(runner, "users", "create", "jo@example.com", "--link", "--expires-in", "2d", "--json")
    members = json.loads(printed.stdout)
    assert list(members) == ["user", "password_url", "expires_at"]
    assert members["user"] == json.loads(run(runner, "users", "list", "--json").stdout)[0]
    assert members["password_url"].startswith(f"{BASE}/password?token={members['user']['id']}.")
    assert lifetime(members) == timedelta(days=2)
    again = run(runner, "users", "create", "Jo@example.com", "--link")
    assert (again.exit_code, again.stdout) == (4, "")


@pytest.mark.one_database
def test_all_errors_of_an_invitation_at_once(app: Flask, runner: FlaskCliRunner) -> None:
    command = ("users", "create", "jo", "--role", "boss", "--link", "--expires-in", "31d", *AT)
    told = run(runner, *command, "--json")
    assert (told.exit_code, len(told.stderr.splitlines())) == (3, 3)
    errors = json.loads(told.stdout)["error"]["details"]["errors"]
    assert [one["field"] for one in errors] == ["email", "global_role_id", "expires_in"]
    assert rows(app, "SELECT 1 FROM users") == []


@pytest.mark.one_database
def test_password_link(app: Flask, runner: FlaskCliRunner, cast: Cast) -> None:
    """A newer link ends the older, and `--revoke` ends it without a new one."""
    first = run(runner, "users", "password-link", "sam@example.com", *AT)
    assert re.fullmatch(rf"{BASE}/password\?token={TOKEN}\n", first.stdout)
    second = json.loads(run(runner, "users", "password-link", cast.sam.id, *AT, "--json").stdout)
    assert list(second) == ["password_url", "expires_at"]
    assert lifetime(second) == timedelta(hours=24)
    assert [status_of(app, url) for url in (first.stdout.strip(), second["password_url"])] == [410, 200]
    ended = run(runner, "users", "password-link", "sam@example.com", "--revoke", "--json")
    assert json.loads(ended.stdout) == {
        "success": True,
        "message": "The user has no open password link.",
        "user_id": cast.sam.id,
    }
    assert status_of(app, second["password_url"]) == 410
    run(runner, "users", "password-link", "sam@example.com", *AT)
    named = run(runner, "users", "update", "sam@example.com", "--first-name", "Sam")
    assert named.stderr == "User changed: sam@example.com\n"
    promoted = run(runner, "users", "update", "sam@example.com", "--role", "role_auditor")
    assert "The open password link has ended" in promoted.stderr
    assert run(runner, "users", "password-link", "sam@example.com", "--revoke").stdout == f"{cast.sam.id}\n"
    short = run(runner, "users", "password-link", "sam@example.com", "--expires-in", "4m", *AT)
    assert (short.exit_code, short.stdout) == (3, "")
    run(runner, "users", "deactivate", "sam@example.com")
    refused = run(runner, "users", "password-link", "sam@example.com", *AT)
    told = (refused.exit_code, refused.stdout, refused.stderr)
    assert told == (3, "", "This user is deactivated. Reactivate them first.\n")


@pytest.mark.one_database
def test_verification_link(app: Flask, runner: FlaskCliRunner, cast: Cast) -> None:
    printed = run(runner, "users", "verify", "sam@example.com", "--link", *AT)
    assert re.fullmatch(rf"{BASE}/verify\?token={TOKEN}\n", printed.stdout)
    assert status_of(app, printed.stdout.strip()) == 200
    members = json.loads(run(runner, "users", "verify", "sam@example.com", "--link", *AT, "--json").stdout)
    api = Api(app.test_client(), make_key(app, Permission.USERS_UPDATE))
    assert list(members) == list(api.call("POST", f"/v1/user/{cast.sam.id}/verification").json)
    assert rows(app, "SELECT 1 FROM users WHERE last_verified IS NOT NULL") == []
