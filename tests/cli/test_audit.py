"""`flask audit export`: the audit trail as lines of JSON, after the last event that a script has read."""

import json
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from support.api import Api
from support.command_line import in_a_shell, run
from support.databases import rewrite_audit, rows
from support.documents import OPERATIONS, blocks, section
from support.people import PASSWORD, Cast, make_user

BODY = {"email": "jo@example.com", "password": PASSWORD}
MEMBERS = [
    "id",
    "at",
    "action",
    "outcome",
    "actor_kind",
    "actor_user_id",
    "actor_key_id",
    "target_id",
    "fields",
    "address",
    "request_id",
    "client_request_id",
]


def exported(runner: FlaskCliRunner, *options: str) -> list[dict[str, Any]]:
    """Return the lines of an export."""
    result = run(runner, "audit", "export", *options)
    assert (result.exit_code, result.stderr) == (0, "")
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_line_has_the_documented_members(runner: FlaskCliRunner, api: Api) -> None:
    user = api.call("POST", "/v1/user/", json=BODY, headers={"X-Request-Id": "job-2026-11-24"}).json
    made_key, created = exported(runner)
    (shown,) = blocks(section(OPERATIONS, "Audit trail"), "json")
    assert list(created) == list(json.loads(shown)) == MEMBERS
    assert (created["action"], created["outcome"], created["target_id"]) == ("user.create", "ok", user["id"])
    assert (created["actor_key_id"], created["fields"]) == (made_key["target_id"], ["email", "password"])
    assert (created["at"], created["address"]) == (user["created_at"], "127.0.0.1")
    assert (made_key["client_request_id"], created["client_request_id"]) == (None, "job-2026-11-24")


def test_export_after_the_last_event(app: Flask, runner: FlaskCliRunner, cast: Cast) -> None:
    first, *rest = exported(runner)
    assert first["target_id"] == cast.ada.id
    assert exported(runner, "--after", first["id"]) == rest
    assert exported(runner, "--after", rest[-1]["id"]) == []
    assert len(exported(runner, "--since", "2026-01-01")) == 4
    assert exported(runner, "--since", "2400-01-01") == []
    make_user(app, "jo@example.com")
    assert len(exported(runner, "--after", rest[-1]["id"], "--since", "2026-01-01")) == 1


@pytest.mark.parametrize("options", [("--after", "usr_1"), ("--since", "yesterday"), ("--since", "2026-02-30")])
def test_wrong_usage_is_exit_2(runner: FlaskCliRunner, options: tuple[str, str]) -> None:
    result = run(runner, "audit", "export", *options)
    assert (result.exit_code, result.stdout) == (2, "")


def test_export_holds_no_input(app: Flask, runner: FlaskCliRunner, api: Api) -> None:
    """No email, name or password is in the export, and no text can break a line."""
    api.create(email="=cmd|x@example.com", first_name="=1+1", last_name="@SUM(A1)")
    rewrite_audit(app, "UPDATE audit_events SET address = :text", text="a\u2028b\u202ec\r\nd")
    output = run(runner, "audit", "export").stdout
    assert "=" not in output
    assert "@" not in output
    assert output.isascii()
    assert len(output.splitlines()) == len(rows(app, "SELECT id FROM audit_events"))


@pytest.mark.one_database
def test_closed_pipe_is_no_error(app: Flask) -> None:
    for number in range(3):
        make_user(app, f"user{number}@example.com")
    assert in_a_shell(app, "flask audit export | head -c 1; exit ${PIPESTATUS[0]}") == (0, "{", "")
