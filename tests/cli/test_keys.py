"""`flask keys …`: make, list and revoke API keys."""

import json
import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from support.api import Api
from support.command_line import run
from support.databases import execute
from support.people import Cast, make_key
from users import clock
from users.roles import Permission
from users.rules import key_format
from users.services import api_keys
from users.storage.lists import paging

pytestmark = pytest.mark.one_database


def test_create_with_vanished_owner(
    app: Flask, runner: FlaskCliRunner, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner is purged while the key is made."""
    create_key = api_keys.create_key

    def erase_first(*given: Any, **more: Any) -> api_keys.IssuedKey:
        execute(app, "DELETE FROM users WHERE id = :id", id=cast.sam.id)
        return create_key(*given, **more)

    monkeypatch.setattr(api_keys, "create_key", erase_first)
    result = run(runner, "keys", "create", "CI", "--owner", "sam@example.com", "--scope", "users:read")
    assert (result.exit_code, result.stdout, result.stderr) == (5, "", "There is no such user.\n")


def test_create_prints_only_the_key(app: Flask, runner: FlaskCliRunner, api: Api) -> None:
    result = run(runner, "keys", "create", "ci", "--scope", "users:create", "--scope", "users:read")
    assert key_format.is_well_formed(result.stdout.removesuffix("\n"))
    api.key = result.stdout.strip()
    assert api.create().status_code == 201


def test_json_members(runner: FlaskCliRunner, cast: Cast) -> None:
    command = ("keys", "create", "ci", "--scope", "users:read", "--owner", "ada@example.com", "--expires-in", "90d")
    made = json.loads(run(runner, *command, "--json").stdout)
    assert list(made) == ["id", "key", "name", "prefix", "scopes", "owner_id", "created_at", "expires_at"]
    assert made["prefix"] == made["key"][:8]
    assert (made["scopes"], made["owner_id"]) == (["users:read"], cast.ada.id)
    assert made["created_at"] < made["expires_at"]
    (listed,) = json.loads(run(runner, "keys", "list", "--json").stdout)
    secret = made.pop("key")
    assert listed == {**made, "deactivated_at": None, "last_used_at": None, "state": "active"}
    assert secret not in run(runner, "keys", "list").stdout


def test_create_notes_idle_scopes(runner: FlaskCliRunner, cast: Cast) -> None:
    """A key can hold a scope that its owner does not hold now."""
    result = run(runner, "keys", "create", "ci", "--scope", "users:create", "--owner", "sam@example.com")
    assert result.exit_code == 0
    assert "sam@example.com does not hold users:create now, nor does the key." in result.stderr
    run(runner, "users", "deactivate", "sam@example.com")
    result = run(runner, "keys", "create", "ci", "--owner", "sam@example.com")
    assert "sam@example.com is deactivated, and so is the key until that changes." in result.stderr


def test_list_shows_state(app: Flask, runner: FlaskCliRunner, api: Api) -> None:
    run(runner, "keys", "create", "old", "--scope", "users:read", "--expires-in", "1m")
    execute(app, "UPDATE api_keys SET expires_at = created_at WHERE name = 'old'")
    gone = json.loads(run(runner, "keys", "create", "gone", "--scope", "users:read", "--json").stdout)
    refused = run(runner, "keys", "revoke", gone["id"])
    assert (refused.exit_code, refused.stdout) == (2, "")
    for options in (("--yes",), ()):  # once it is revoked, there is nothing to ask
        revoked = run(runner, "keys", "revoke", gone["id"], *options)
        assert (revoked.exit_code, revoked.stdout) == (0, gone["id"] + "\n")
    api.get("/v1/user/me")
    table = run(runner, "keys", "list").stdout
    for name, state in (("test", "active"), ("old", "expired"), ("gone", "revoked")):
        assert re.search(rf" {name} .* {state}\n", table)
    listed = {key["name"]: key for key in json.loads(run(runner, "keys", "list", "--json").stdout)}
    assert {name: key["state"] for name, key in listed.items()} == {
        "test": "active",
        "old": "expired",
        "gone": "revoked",
    }
    assert listed["gone"]["deactivated_at"]
    assert listed["test"]["last_used_at"]


@pytest.mark.parametrize("at_once", [1, 2, 1000])
def test_list_is_read_in_pieces(
    app: Flask, runner: FlaskCliRunner, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """The list is complete whatever the size of a piece."""
    assert run(runner, "keys", "list", "--json").stdout == "[]\n"
    assert run(runner, "keys", "list").stdout.startswith("ID  NAME  PREFIX  SCOPES  OWNER  CREATED  LAST USED  ")
    for number in range(5):
        make_key(app, Permission.USERS_READ, name="x" * (number * 7 % 5 + 1))
    monkeypatch.setattr(paging, "BATCH_SIZE", at_once)
    with app.app_context():
        key_format = [key.as_key() for key in api_keys.list_keys()]
    printed = run(runner, "keys", "list", "--json").stdout
    more = {"deactivated_at": None, "last_used_at": None, "state": "active"}
    assert printed == json.dumps([{**key, **more} for key in key_format], separators=(",", ":")) + "\n"
    assert [len(key["name"]) for key in key_format] == [1, 3, 5, 2, 4]
    head, *lines = run(runner, "keys", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [key["id"] for key in key_format]
    assert {line.index(key["prefix"]) for line, key in zip(lines, key_format, strict=True)} == {head.index("PREFIX")}


def test_roll(app: Flask, runner: FlaskCliRunner, cast: Cast, api: Api) -> None:
    """The new key takes the place of the old one, which works for a day more; only the new key is printed."""
    created = ("keys", "create", "ci", "--scope", "users:read", "--owner", "sam@example.com", "--json")
    old = json.loads(run(runner, *created).stdout)
    rolled = run(runner, "keys", "roll", old["id"])
    assert (rolled.exit_code, key_format.is_well_formed(rolled.stdout.removesuffix("\n"))) == (0, True)
    assert rolled.stdout.strip() not in rolled.stderr
    for key in (old["key"], rolled.stdout.strip()):
        assert api.call("GET", "/v1/user/me", key=key).status_code == 200
    listed = json.loads(run(runner, "keys", "list", "--json").stdout)
    before, after = (key for key in listed if key["name"] == "ci")
    assert (after["scopes"], after["owner_id"], after["expires_at"]) == (["users:read"], cast.sam.id, None)
    assert days_until(before["expires_at"]) == 1
    again = run(runner, "keys", "roll", after["id"], "--ends-in", "now", "--expires-in", "30d", "--json")
    assert list(json.loads(again.stdout)) == list(old)
    assert days_until(json.loads(again.stdout)["expires_at"]) == 30
    assert api.call("GET", "/v1/user/me", key=rolled.stdout.strip()).status_code == 401
    newest = json.loads(again.stdout)
    for options, days in (((), 90), (("--expires-in", "never"), None)):
        newest = json.loads(run(runner, "keys", "roll", newest["id"], "--json", *options).stdout)
        assert newest["expires_at"] is None if days is None else days_until(newest["expires_at"]) == days


def days_until(moment: str) -> int:
    """Return the days until an RFC 3339 time."""
    return round((datetime.fromisoformat(moment) - clock.now()) / timedelta(days=1))


def test_roll_of_a_key_that_does_not_work(app: Flask, runner: FlaskCliRunner, cast: Cast) -> None:
    """Its owner is deactivated, so there is nothing to replace."""
    made = json.loads(run(runner, "keys", "create", "ci", "--owner", "sam@example.com", "--json").stdout)
    run(runner, "users", "deactivate", "sam@example.com")
    result = run(runner, "keys", "roll", made["id"])
    assert (result.exit_code, result.stdout, result.stderr) == (3, "", "This API key has stopped working.\n")
    (listed,) = json.loads(run(runner, "keys", "list", "--json").stdout)
    assert (listed["id"], listed["state"]) == (made["id"], "stopped")
    assert run(runner, "keys", "roll", "akid_1").exit_code == 5


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "Enter a name"),
        ("x" * 256, "Name must be 255 characters or fewer"),
        ("a\nb", "Name must not contain line breaks or control characters"),
    ],
)
def test_create_with_wrong_name(runner: FlaskCliRunner, name: str, words: str) -> None:
    result = run(runner, "keys", "create", name, "--scope", "users:read")
    assert (result.exit_code, result.stdout, result.stderr) == (3, "", words + "\n")
