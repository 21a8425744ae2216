"""How a command ends: data on stdout, words on stderr, and an exit code that a script can read."""

import json

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from support.command_line import in_a_shell, run
from support.databases import execute, rows
from support.people import Cast, make_user
from users.services import user_queries


@pytest.mark.one_database
@pytest.mark.parametrize(
    "args",
    [
        ("users", "create", "jo@example.com"),  # no terminal to ask at
        ("users", "create", "jo@example.com", "--generate-password", "--password-stdin"),
        ("users", "create"),
        ("users", "create", "jo@example.com", "--link"),  # with no address to begin with
        ("users", "create", "jo@example.com", "--link", "--base-url", "jo"),
        ("users", "create", "jo@example.com", "--link", "--base-url", "https://x.example.com", "--must-change"),
        ("users", "create", "jo@example.com", "--link", "--base-url", "https://x.example.com", "--generate-password"),
        ("users", "create", "jo@example.com", "--expires-in", "7d", "--generate-password"),
        ("users", "create", "jo@example.com", "--base-url", "https://x.example.com", "--generate-password"),
        ("users", "password-link", "jo@example.com"),
        ("users", "password-link", "jo@example.com", "--revoke", "--expires-in", "1d"),
        ("users", "verify", "jo@example.com", "--link"),
        ("users", "verify", "jo@example.com", "--base-url", "https://x.example.com"),
        ("users", "update", "jo@example.com"),
        ("users", "update", "jo@example.com", "--role", "role_admin", "--no-role"),
        ("keys", "roll", "akid_01900000000070008000000000000000", "--ends-in", "0d"),
        ("keys", "roll", "akid_01900000000070008000000000000000", "--expires-in", "now"),
        ("users", "create", "jo@example.com", "--password", "in argv"),
        ("users", "list", "--limit", "0"),
        ("users", "list", "--limit", "9223372036854775808"),
        ("users", "list", "--after", "ada@example.com"),
        ("users", "list", "--after", "\udcff"),
        ("keys", "create", "ci"),
        ("keys", "create", "ci", "--scope", "users:conquer"),
        ("keys", "create", "ci", "--scope", "users:read", "--expires-in", "soon"),
        ("keys", "create", "ci", "--scope", "users:read", "--expires-in", "0d"),
        ("keys", "create", "ci", "--scope", "users:read", "--expires-in", "9999999w"),
        ("users", "conquer"),
    ],
    ids=lambda args: ascii(" ".join(args)),
)
def test_wrong_usage_is_exit_2(app: Flask, runner: FlaskCliRunner, args: tuple[str, ...]) -> None:
    result = run(runner, *args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert rows(app, "SELECT id FROM users") == rows(app, "SELECT id FROM api_keys") == []


USER_COMMANDS = (
    ("show",),
    ("update", "--first-name", "Jo"),
    ("deactivate",),
    ("reactivate",),
    ("delete",),
    ("restore",),
    ("verify",),
    ("verify", "--link", "--base-url", "https://x.example.com"),
    ("unlock",),
    ("password-link", "--base-url", "https://x.example.com"),
    ("password-link", "--revoke"),
    ("set-password", "--generate-password"),
)


def test_not_found_is_exit_5(runner: FlaskCliRunner) -> None:
    for reference in ("nobody@example.com", "usr_01900000000070008000000000000000", "no email", "", "jo@x\udcff.com"):
        for command in USER_COMMANDS:
            result = run(runner, "users", command[0], reference, *command[1:])
            assert (result.exit_code, result.stdout, result.stderr) == (5, "", "There is no such user.\n")
    for key_id in ("akid_1", "akid_01900000000070008000000000000000", "\udcff"):
        assert run(runner, "keys", "revoke", key_id).exit_code == 5
        assert run(runner, "keys", "roll", key_id).exit_code == 5
    assert run(runner, "keys", "create", "ci", "--owner", "nobody@example.com").exit_code == 5


def test_refused_command_is_audited(app: Flask, runner: FlaskCliRunner, cast: Cast) -> None:
    """The audit event has the request id that the command prints."""
    printed = json.loads(run(runner, "users", "deactivate", "ada@example.com", "--json").stdout)
    (row,) = rows(app, "SELECT request_id FROM audit_events WHERE outcome = 'refused'")
    assert printed["error"]["trace_id"] == row.request_id


def test_unavailable_database_is_exit_1(app: Flask, runner: FlaskCliRunner) -> None:
    execute(app, "ALTER TABLE users RENAME TO elsewhere")
    try:
        result = run(runner, "users", "list", "--json")
    finally:
        execute(app, "ALTER TABLE elsewhere RENAME TO users")
    assert result.exit_code == 1
    assert result.stderr == "The database is not set up for this version of Enrol. Run: flask db upgrade\n"
    assert json.loads(result.stdout)["error"]["code"] == "SERVICE_UNAVAILABLE"


@pytest.mark.one_database
def test_closed_pipe_is_no_error(app: Flask) -> None:
    """`| head` closes the pipe before the command has printed all."""
    for number in range(3):
        make_user(app, f"user{number}@example.com", first_name="x" * 200)
    line = "flask users list --limit 3 | (head -c 1; sleep 0.1); exit ${PIPESTATUS[0]}"  # it prints all before the end
    assert in_a_shell(app, line) == (0, "I", "")


@pytest.mark.one_database
def test_closed_stdout_stops_the_command(app: Flask) -> None:
    """A password that cannot be printed is not made."""
    words = "Error: Standard output is closed; there is nowhere to print to.\n"
    assert in_a_shell(app, "flask users create jo@example.com --generate-password >&-") == (1, "", words)
    code, printed, said = in_a_shell(app, "flask users create jo@example.com --password-stdin <&-")
    assert (code, printed, "Standard input is closed" in said) == (2, "", True)
    assert rows(app, "SELECT id FROM users") == []


def test_unexpected_error_is_exit_1(
    runner: FlaskCliRunner, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def crash(**_: object) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr(user_queries, "list_users", crash)
    result = run(runner, "users", "list")
    assert result.exit_code == 1
    assert "canary" not in result.output
    assert "Traceback" not in result.output
