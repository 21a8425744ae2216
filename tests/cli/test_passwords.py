"""The password that a command asks for, and what it prints of one that it makes."""

import json

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskCliRunner

from support.command_line import run
from support.databases import rows
from support.people import PASSWORD, Cast
from users.errors import Conflict
from users.services import user_creation

pytestmark = pytest.mark.one_database
SHORT = "Password must be at least 8 characters"
COMMON = "This password is on a list of common passwords. Choose a different one"


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("users.cli.prompts.has_terminal", lambda: True)


def typed(*passwords: str) -> str:
    """Return what a person types who gives each of these passwords twice."""
    return "".join(f"{one}\n{one}\n" for one in passwords)


def test_password_is_asked_for_twice(app: Flask, runner: FlaskCliRunner) -> None:
    result = run(runner, "users", "create", "jo@example.com", stdin=f"{PASSWORD}\nslip\n{PASSWORD}\n{PASSWORD}\n")
    assert result.exit_code == 0
    assert PASSWORD not in result.output
    assert len(rows(app, "SELECT id FROM users")) == 1


@pytest.mark.usefixtures("cast")
@pytest.mark.parametrize("command", [("create", "jo@example.com"), ("set-password", "sam@example.com")])
def test_refused_password_is_asked_for_again(app: Flask, runner: FlaskCliRunner, command: tuple[str, str]) -> None:
    """Three times in all, and each refusal says why."""
    never = run(runner, "users", *command, stdin=typed("one", "two", "three", PASSWORD))
    assert (never.exit_code, never.stdout) == (3, "")
    assert never.stderr.count("Password:") == 3
    assert [line for line in never.stderr.splitlines() if SHORT in line] == [f"{SHORT}.", f"{SHORT}.", SHORT]
    at_last = run(runner, "users", *command, stdin=typed("one", "a" * 1025, "another good one"))
    assert at_last.exit_code == 0
    assert f"{SHORT}.\n" in at_last.stderr
    assert "Password must be 1,024 bytes or fewer.\n" in at_last.stderr
    ((stored,),) = rows(app, "SELECT password_hash FROM users WHERE email = :email", email=command[1])
    assert PasswordHasher().verify(stored, "another good one")


@pytest.mark.usefixtures("cast")
@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("SAM@example.com",), 4, "A user with this email address already exists: usr_"),
        (("jo", "--role", "boss"), 3, "Enter an email address in the correct format"),
        (("jo@example.com", "--first-name", "x" * 256), 3, "First name must be 255 characters or fewer"),
    ],
)
def test_other_errors_come_before_the_question(
    runner: FlaskCliRunner, args: tuple[str, ...], code: int, words: str
) -> None:
    result = run(runner, "users", "create", *args, stdin=typed(PASSWORD))
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith(words)
    assert "Password" not in result.stderr
    told = run(runner, "users", "create", *args, "--json", stdin=typed(PASSWORD))
    assert json.loads(told.stdout)["error"]["details"]["errors"]


def test_email_that_is_taken_while_a_person_types(
    runner: FlaskCliRunner, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index decides, as at every door."""
    monkeypatch.setattr(user_creation, "check_new_user", lambda _new, *, actor: actor.require())
    result = run(runner, "users", "create", cast.sam.email, stdin=typed(PASSWORD))
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.endswith(f"{Conflict.message}: {cast.sam.id}\n")


def test_generated_password_as_json(app: Flask, runner: FlaskCliRunner) -> None:
    """It stands beside the user, and must be changed if the command says so."""
    for command in ("create", "set-password"):
        options = ("--generate-password", "--must-change", "--json")
        printed = json.loads(run(runner, "users", command, "jo@example.com", *options).stdout)
        assert list(printed) == ["user", "password"]
        assert printed["user"] == json.loads(run(runner, "users", "list", "--json").stdout)[0]
        ((stored, must_change),) = rows(app, "SELECT password_hash, password_change_required FROM users")
        assert PasswordHasher().verify(stored, printed["password"])
        assert must_change
        assert run(runner, "users", "update", "jo@example.com", "--no-must-change").exit_code == 0
        assert rows(app, "SELECT 1 FROM users WHERE password_change_required") == []


def test_new_password_leaves_must_change_as_it_is(app: Flask, runner: FlaskCliRunner, cast: Cast) -> None:
    run(runner, "users", "update", cast.sam.email, "--must-change")
    run(runner, "users", "set-password", cast.sam.email, "--generate-password")
    assert rows(app, "SELECT email FROM users WHERE password_change_required") == [(cast.sam.email,)]


WEAK = [("hunter2 is me", "Password must be at least 15 characters"), ("passwordpassword", COMMON)]


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["plain", "json"])
@pytest.mark.parametrize(("password", "why"), WEAK)
def test_warning_of_a_weak_password(
    runner: FlaskCliRunner, cast: Cast, options: tuple[str, ...], password: str, why: str
) -> None:
    """The command does it and warns on stderr, if the user holds a permission and could not choose it at the pages."""
    new, known = "jo@example.com", cast.omar.email
    for email, done, *command in (
        (new, f"User created: {new}", "create", new, "--role", "role_auditor"),
        (known, f"Password set: {known}", "set-password", known),
    ):
        result = run(runner, "users", *command, "--password-stdin", *options, stdin=password)
        assert result.exit_code == 0
        said, warned = result.stderr.splitlines()
        assert said.startswith(done)
        assert warned == f"Warning: {email} holds permissions and could not choose this password at the pages. {why}."
        assert "Warning" not in result.stdout


@pytest.mark.parametrize("role", [("--role", "role_member"), ()], ids=["member", "none"])
def test_no_warning_for_a_user_without_a_permission(runner: FlaskCliRunner, role: tuple[str, ...]) -> None:
    for command in (("create", "jo@example.com", *role), ("set-password", "jo@example.com")):
        result = run(runner, "users", *command, "--password-stdin", stdin="password1")
        assert (result.exit_code, "Warning" in result.stderr) == (0, False)


@pytest.mark.parametrize("option", ["--generate-password", "--password-stdin"])
def test_no_warning_of_a_good_password(runner: FlaskCliRunner, option: str) -> None:
    for command in (("create", "jo@example.com", "--role", "role_admin"), ("set-password", "jo@example.com")):
        result = run(runner, "users", *command, option, stdin=PASSWORD)
        assert (result.exit_code, "Warning" in result.stderr) == (0, False)


@pytest.mark.parametrize("settings", [{"ENROL_REQUIRE_SECOND_FACTOR": "administrators"}])
def test_no_warning_of_a_short_password_beside_a_second_factor(runner: FlaskCliRunner, cast: Cast) -> None:
    """It is not the only factor. A common one is not good enough there either."""
    for email, password, warned in (
        (cast.ada.email, "hunter2 is me", False),
        (cast.omar.email, "hunter2 is me", True),
        (cast.ada.email, "password1", True),
    ):
        result = run(runner, "users", "set-password", email, "--password-stdin", stdin=password)
        assert (result.exit_code, "Warning" in result.stderr) == (0, warned)
