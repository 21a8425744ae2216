"""`flask doctor` about second factors: administrators without one, and apps that a secret key does not open."""

import re
from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from support.command_line import run
from support.databases import execute
from support.factors import add_app
from support.people import Cast, make_user
from users.roles import Role

OTHER_KEY = "another secret key, of thirty-two and more characters"


def told(runner: FlaskCliRunner) -> str:
    """Return what doctor says about second factors, with its level."""
    (line,) = re.findall(r"^(.+ second factors: .+)$", run(runner, "doctor").stdout, re.MULTILINE)
    return str(line)


def use(app: Flask, monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    """Let the application have other settings."""
    monkeypatch.setitem(app.extensions, "enrol.settings", replace(app.extensions["enrol.settings"], **changes))


def test_administrators_without(
    app: Flask, runner: FlaskCliRunner, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names them, which is a warning and no failure, and says how to require a factor."""
    assert told(runner) == (
        "warn second factors: 1 of 1 administrators without one: ada@example.com. They add one at /account/factors; "
        "ENROL_REQUIRE_SECOND_FACTOR=administrators requires it."
    )
    add_app(app, cast.ada)
    assert told(runner) == "ok   second factors: All administrators have one."
    for number in range(6):
        make_user(app, f"jo{number}@example.com", Role.ADMIN)
    gone = make_user(app, "gone@example.com", Role.ADMIN)
    execute(app, "UPDATE users SET is_active = :no WHERE id = :id", no=False, id=gone.id)
    use(app, monkeypatch, require_second_factor="all")
    emails = ", ".join(f"jo{number}@example.com" for number in range(5))
    assert told(runner) == (
        f"warn second factors: 6 of 7 administrators without one: {emails} and 1 more. Their next sign-in leads them "
        "to add one: ENROL_REQUIRE_SECOND_FACTOR is set."
    )


@pytest.mark.one_database
def test_no_administrator(runner: FlaskCliRunner) -> None:
    """That one is missing is told once, by the check of administrators."""
    assert told(runner) == "ok   second factors: There is no administrator."


@pytest.mark.one_database
def test_apps_of_another_key(app: Flask, runner: FlaskCliRunner, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that was changed is needed until each app was used once; without it doctor says what to do."""
    add_app(app, cast.ada)
    old = app.extensions["enrol.settings"].secret_key
    use(app, monkeypatch, secret_key=OTHER_KEY, secret_key_fallbacks=(old,))
    assert told(runner) == (
        "ok   second factors: All administrators have one. Users whose authenticator app still needs "
        "SECRET_KEY_FALLBACKS: 1."
    )
    use(app, monkeypatch, secret_key_fallbacks=())
    line = told(runner)
    assert line.startswith("warn second factors: ")
    assert "Users whose authenticator app this secret key does not open: 1. Put the key before it into" in line
    assert "flask users reset-second-factor EMAIL_OR_ID" in line
    assert run(runner, "users", "reset-second-factor", "ada@example.com", "--yes").exit_code == 0
    assert "this secret key does not open" not in told(runner)
