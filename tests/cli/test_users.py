"""`flask users …`: create users, show, list and change them."""

import json
import re

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskCliRunner

from support.api import Api
from support.command_line import run
from support.databases import execute, rows
from support.people import PASSWORD, Cast, make_user
from support.visitors import signed_in
from users.passwords import policy


def test_create_json_is_the_apis(runner: FlaskCliRunner, api: Api) -> None:
    command = ("users", "create", "jo@example.com", "--first-name", "Jo", "--password-stdin", "--json")
    result = run(runner, *command, stdin=PASSWORD)
    assert result.exit_code == 0
    user = json.loads(result.stdout)
    assert api.get(f"/v1/user/{user['id']}").text == run(runner, "users", "show", user["id"], "--json").stdout
    assert list(user) == list(api.create(email="ada@example.com").json)
    assert user["email"] in result.stderr
    again = run(runner, *command, stdin=PASSWORD)
    assert again.exit_code == 4
    answer = api.create(email="jo@example.com").json
    told = json.loads(again.stdout)
    for body in (answer, told):
        del body["error"]["trace_id"], body["error"]["timestamp"]
    assert told == answer
    assert again.stderr == f"A user with this email address already exists: {user['id']}\n"


def test_create_prints_only_the_id(runner: FlaskCliRunner) -> None:
    result = run(
        runner, "users", "create", "jo@example.com", "--role", "role_admin", "--password-stdin", stdin=PASSWORD
    )
    assert re.fullmatch(r"usr_[0-9a-f]{32}\n", result.stdout)
    assert "\nRole: role_admin\n" in run(runner, "users", "show", "jo@example.com").stdout


def test_generated_password(app: Flask, runner: FlaskCliRunner) -> None:
    """It is all that stdout gets, and the user can sign in with it."""
    made = run(runner, "users", "create", "jo@example.com", "--generate-password")
    changed = run(runner, "users", "set-password", "jo@example.com", "--generate-password")
    assert made.stdout != changed.stdout
    assert len(changed.stdout) == policy.GENERATED_LENGTH + 1
    ((stored,),) = rows(app, "SELECT password_hash FROM users")
    assert PasswordHasher().verify(stored, changed.stdout.removesuffix("\n"))


def test_unknown_role_is_exit_3(runner: FlaskCliRunner) -> None:
    result = run(runner, "users", "create", "jo@example.com", "--role", "boss", "--password-stdin", stdin=PASSWORD)
    assert result.exit_code == 3
    words = "Choose one of the roles: role_admin, role_operator, role_auditor, role_member\n"
    assert result.stderr == words


ONE_LINE = "The password on standard input must be one line."
UTF_8 = "The password on standard input must be UTF-8."
OTHER = "The password on standard input must be UTF-8, not UTF-16 or another encoding."


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("stdin", "refusal"),
    [
        (b"correct horse", None),
        (b"correct horse\n", None),
        (b"correct horse\r\n", None),
        (b"\xef\xbb\xbfcorrect horse\n", None),
        (b"correct horse\n\n", ONE_LINE),
        (b"correct horse\r\n\r\n", ONE_LINE),
        (b"correct horse\nbattery\n", ONE_LINE),
        (b"\ncorrect horse\n", ONE_LINE),
        (b"correct\rhorse\n", ONE_LINE),
        (b"correct horse\r", ONE_LINE),
        (b"correct horse\n" * 9000, ONE_LINE),
        (b"caf\xe9 au lait", UTF_8),
        (b"correct horse\xc3", UTF_8),
        ("correct horse\r\n".encode("utf-16"), OTHER),
        ("correct horse\r\n".encode("utf-16-be"), OTHER),
        (b"\xfe\xff" + "correct horse\r\n".encode("utf-16-be"), OTHER),
        ("correct horse".encode("utf-32"), OTHER),
        (b"correct horse\0", OTHER),
    ],
)
def test_password_on_stdin(app: Flask, runner: FlaskCliRunner, stdin: bytes, refusal: str | None) -> None:
    """It is one line in UTF-8: its end and a byte order mark are no part of it."""
    result = run(runner, "users", "create", "jo@example.com", "--password-stdin", stdin=stdin)
    assert (result.exit_code, result.stdout == "") == ((2, True) if refusal else (0, False))
    assert (refusal or "User created") in result.stderr
    stored = rows(app, "SELECT password_hash FROM users")
    assert [PasswordHasher().verify(one.password_hash, "correct horse") for one in stored] == [True] * (not refusal)


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("stdin", "words"),
    [
        (b"", "Enter a password"),
        (b"\n", "Enter a password"),
        (b"\xef\xbb\xbf", "Enter a password"),
        ("ä".encode() * 40_000, "Password must be 1,024 bytes or fewer"),
        ("a" + "ä" * 40_000, "Password must be 1,024 bytes or fewer"),
        ("correct\u2028horse", "Password must not contain line breaks or control characters"),
    ],
    ids=range(6),
)
def test_line_on_stdin_that_is_no_password(runner: FlaskCliRunner, stdin: bytes, words: str) -> None:
    result = run(runner, "users", "create", "jo@example.com", "--password-stdin", stdin=stdin)
    assert (result.exit_code, result.stderr) == (3, f"{words}\n")


def test_last_administrator_is_exit_3(runner: FlaskCliRunner, cast: Cast) -> None:
    result = run(runner, "users", "deactivate", "ada@example.com")
    assert result.exit_code == 3
    words = "This is the last active administrator. Give another user the role first."
    assert result.stderr == f"{words} ({cast.ada.id})\n"


def test_show_finds_any_spelling(app: Flask, runner: FlaskCliRunner) -> None:
    user = make_user(app, "Jürgen@exämple.com")
    for spelling in ("jürgen@exämple.com", " JÜRGEN@XN--EXMPLE-CUA.COM ", "ju\u0308rgen@exämple.com", user.id):
        assert json.loads(run(runner, "users", "show", spelling, "--json").stdout)["id"] == user.id


def test_show_finds_reserved_domain(app: Flask, runner: FlaskCliRunner) -> None:
    """The domain was allowed when the user was created."""
    user = make_user(app, "jo@example.com")
    execute(app, "UPDATE users SET email = 'jo@intra', email_key = 'jo@intra' WHERE id = :id", id=user.id)
    assert json.loads(run(runner, "users", "show", "jo@intra", "--json").stdout)["id"] == user.id


def test_list_is_paged_oldest_first(runner: FlaskCliRunner, cast: Cast) -> None:
    whole = run(runner, "users", "list", "--json")
    assert [user["email"].split("@")[0] for user in json.loads(whole.stdout)] == ["ada", "omar", "vera", "sam"]
    assert whole.stderr == ""
    first = run(runner, "users", "list", "--json", "--limit", "3")
    assert first.stderr == f"There may be more: --after {cast.vera.id}\n"
    rest = run(runner, "users", "list", "--json", "--after", cast.vera.id)
    assert json.loads(whole.stdout) == json.loads(first.stdout) + json.loads(rest.stdout)
    run(runner, "users", "deactivate", "sam@example.com")
    assert "sam@example.com" not in run(runner, "users", "list", "--active-only").stdout
    table = run(runner, "users", "list").stdout
    assert re.search(r"sam@example\.com +deactivated", table)
    assert re.search(r"ada@example\.com +Ada Lovelace +active +role_admin", table)


@pytest.mark.one_database
def test_show_has_the_labels_of_the_page(app: Flask, runner: FlaskCliRunner, cast: Cast) -> None:
    """The states of the password are told, too."""
    told = dict(line.split(": ", 1) for line in run(runner, "users", "show", "ada@example.com").stdout.splitlines())
    assert (told["Name"], told["Status"], told["Role"]) == ("Ada Lovelace", "Active", "role_admin")
    assert (told["Password"], told["Password link"], told["Last sign-in"]) == ("Set", "No open link", "Never")
    page = signed_in(app, cast.ada).get(f"/admin/users/{cast.ada.id}").text
    labels = re.findall(r"<dt>([^<]+)</dt>", page)
    assert set(labels) <= set(told)
    run(runner, "users", "update", "ada@example.com", "--must-change")
    told = run(runner, "users", "show", "ada@example.com").stdout
    assert "\nPassword: Set. They must choose a new one when they sign in\n" in told
    run(runner, "users", "create", "jo@example.com", "--link", "--base-url", "https://users.example.com")
    told = run(runner, "users", "show", "jo@example.com").stdout
    assert re.search(r"\nPassword: No password yet\nPassword link: Ends \d+ \w+ \d{4}, \d\d:\d\d UTC\n", told)
    assert re.search(r"jo@example\.com +active, no password yet", run(runner, "users", "list").stdout)
