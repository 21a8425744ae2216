"""`flask users …` that change a user: update, deactivate, reactivate, delete, restore, verify."""

import json

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from support.api import Api
from support.command_line import run
from support.databases import rows
from support.people import PASSWORD, Cast, make_key
from users.roles import Permission

NEWEST = "SELECT action FROM audit_events ORDER BY id DESC LIMIT 1"


def test_changes_print_the_user(runner: FlaskCliRunner, cast: Cast) -> None:
    changed = run(runner, "users", "set-password", "sam@example.com", "--password-stdin", "--json", stdin=PASSWORD)
    assert json.loads(changed.stdout)["id"] == cast.sam.id
    for command, is_active in (("deactivate", False), ("deactivate", False), ("reactivate", True)):
        printed = run(runner, "users", command, "sam@example.com", "--json")
        assert json.loads(printed.stdout)["is_active"] is is_active
        assert run(runner, "users", command, "sam@example.com").stdout == f"{cast.sam.id}\n"
    weak = run(runner, "users", "set-password", "sam@example.com", "--password-stdin", stdin="short")
    assert (weak.exit_code, weak.stderr) == (3, "Password must be at least 8 characters\n")


@pytest.mark.one_database
def test_update_is_the_apis(app: Flask, runner: FlaskCliRunner, cast: Cast) -> None:
    """It prints and refuses what a PATCH would."""
    changes = ("--email", "omar@example.org", "--first-name", "", "--last-name", "Jones", "--role", "role_auditor")
    printed = run(runner, "users", "update", "omar@example.com", *changes, "--json")
    assert rows(app, NEWEST)[0].action == "user.update"
    api = Api(app.test_client(), make_key(app, *Permission))
    user = api.get(f"/v1/user/{cast.omar.id}").json
    assert json.loads(printed.stdout) == {name: user[name] for name in json.loads(printed.stdout)}
    shown = [user[name] for name in ("email", "first_name", "last_name", "global_role_id")]
    assert shown == ["omar@example.org", None, "Jones", "role_auditor"]
    for command, code, body in (
        (("--email", "sam@example.com"), 4, {"email": "sam@example.com"}),
        (("--email", "omar", "--role", "boss"), 3, {"email": "omar", "global_role_id": "boss"}),
        (("--last-name", "x" * 256), 3, {"last_name": "x" * 256}),
        (("--email", "j\udce9@example.com", "--first-name", "\udce9"), 3, None),
    ):
        told = run(runner, "users", "update", cast.omar.id, *command, "--json")
        assert told.exit_code == code
        if body is None:
            continue  # an argument that is no text, as no JSON can be
        answer = api.call("PATCH", f"/v1/user/{cast.omar.id}", json=body).json
        assert json.loads(told.stdout)["error"]["details"] == answer["error"]["details"]


@pytest.mark.one_database
def test_update_of_nothing(app: Flask, runner: FlaskCliRunner, cast: Cast) -> None:
    """A value that the user has already is no change, and the command says so."""
    count = len(rows(app, "SELECT 1 FROM audit_events"))
    again = run(runner, "users", "update", "omar@example.com", "--first-name", "Omar", "--no-must-change")
    assert (again.exit_code, again.stdout) == (0, f"{cast.omar.id}\n")
    assert again.stderr == "Nothing to change: omar@example.com\n"
    assert len(rows(app, "SELECT 1 FROM audit_events")) == count
    taken = run(runner, "users", "update", "ada@example.com", "--no-role")
    assert (taken.exit_code, taken.stdout) == (3, "")
    gone = json.loads(run(runner, "users", "update", "omar@example.com", "--no-role", "--json").stdout)
    assert gone["global_role_id"] is None


@pytest.mark.one_database
def test_delete_asks(app: Flask, runner: FlaskCliRunner, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal to ask at, it needs `--yes`."""
    alone = run(runner, "users", "delete", "sam@example.com")
    assert (alone.exit_code, alone.stdout) == (2, "")
    assert "Give --yes" in alone.stderr
    with monkeypatch.context() as patch:
        patch.setattr("users.cli.prompts.has_terminal", lambda: True)
        kept = run(runner, "users", "delete", "sam@example.com", stdin="n\n")
        assert (kept.exit_code, kept.stdout) == (1, "")
        assert f"Delete sam@example.com ({cast.sam.id})?" in kept.stderr
        assert rows(app, "SELECT id FROM users WHERE deleted_at IS NOT NULL") == []
        assert run(runner, "users", "delete", "sam@example.com", stdin="y\n").stdout == f"{cast.sam.id}\n"
    printed = run(runner, "users", "delete", "vera@example.com", "--yes", "--json")
    key = make_key(app, *Permission)
    answer = Api(app.test_client(), key).call("DELETE", f"/v1/user/{cast.omar.id}").json
    assert json.loads(printed.stdout) == {**answer, "user_id": cast.vera.id}
    assert run(runner, "users", "show", "sam@example.com").exit_code == 5
    assert run(runner, "users", "delete", "ada@example.com", "--yes").exit_code == 3


@pytest.mark.one_database
def test_restore_asks(app: Flask, runner: FlaskCliRunner, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks about a deleted user alone, and prints what the API would answer."""
    restore = ("users", "restore", "sam@example.com")
    nothing = run(runner, *restore)
    assert (nothing.exit_code, nothing.stdout) == (0, f"{cast.sam.id}\n")
    assert nothing.stderr == "Nothing to restore: sam@example.com\n"
    run(runner, "users", "delete", cast.sam.id, "--yes")
    alone = run(runner, *restore)
    assert (alone.exit_code, alone.stdout) == (2, "")
    assert "Give --yes" in alone.stderr
    with monkeypatch.context() as patch:
        patch.setattr("users.cli.prompts.has_terminal", lambda: True)
        kept = run(runner, *restore, stdin="n\n")
        assert (kept.exit_code, kept.stdout) == (1, "")
        assert f"Restore sam@example.com ({cast.sam.id})? They come back deactivated" in kept.stderr
        assert len(rows(app, "SELECT id FROM users WHERE deleted_at IS NOT NULL")) == 1
        assert run(runner, *restore, stdin="y\n").stdout == f"{cast.sam.id}\n"
    assert rows(app, NEWEST)[0].action == "user.restore"
    run(runner, "users", "delete", cast.sam.id, "--yes")
    printed = run(runner, "users", "restore", cast.sam.id, "--yes", "--json")
    assert printed.stderr == "User restored: sam@example.com\n"
    answer = Api(app.test_client(), make_key(app, *Permission)).call("POST", f"/v1/user/{cast.sam.id}/restore")
    assert json.loads(printed.stdout) == answer.json


@pytest.mark.one_database
def test_restore_by_an_email_of_several(runner: FlaskCliRunner, cast: Cast) -> None:
    """A taken email is 4; where several deleted users had it, the id decides."""
    run(runner, "users", "delete", cast.sam.id, "--yes")
    other = run(runner, "users", "create", "SAM@example.com", "--generate-password", "--json")
    other_id = json.loads(other.stdout)["user"]["id"]
    taken = run(runner, "users", "restore", "sam@example.com", "--yes", "--json")
    assert (taken.exit_code, json.loads(taken.stdout)["error"]["details"]["user_id"]) == (4, other_id)
    run(runner, "users", "delete", other_id, "--yes")
    several = run(runner, "users", "restore", "sam@example.com", "--yes")
    assert (several.exit_code, several.stdout) == (2, "")
    assert f"Give the ID of one: {other_id}, {cast.sam.id}" in several.stderr
    assert run(runner, "users", "restore", other_id, "--yes").stdout == f"{other_id}\n"


@pytest.mark.one_database
def test_verify_marks_the_email(app: Flask, runner: FlaskCliRunner, cast: Cast) -> None:
    printed = json.loads(run(runner, "users", "verify", "sam@example.com", "--json").stdout)
    assert printed["last_verified"]
    assert rows(app, NEWEST)[0].action == "user.verify"
    moved = json.loads(run(runner, "users", "update", cast.sam.id, "--email", "sam@example.org", "--json").stdout)
    assert moved["last_verified"] is None
