"""`flask users reset-second-factor`, and what `flask users show` tells of second factors."""

import json

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from support.command_line import run
from support.databases import rows
from support.factors import add_app, fully_signed_in
from support.people import Cast
from support.visitors import signed_in

RESET = ("users", "reset-second-factor")


def test_reset(app: Flask, runner: FlaskCliRunner, cast: Cast) -> None:
    """The only administrator gets back in by the password alone; the sessions end, and the trail names the terminal."""
    ada = fully_signed_in(app, cast.ada, add_app(app, cast.ada))
    done = run(runner, *RESET, "ada@example.com", "--yes")
    assert (done.exit_code, done.stdout) == (0, f"{cast.ada.id}\n")
    assert done.stderr == "Second factor reset: ada@example.com\n"
    assert not ada.is_in
    assert rows(app, "SELECT 1 FROM second_factors UNION SELECT 1 FROM recovery_codes") == []
    found = rows(app, "SELECT actor_kind, target_id FROM audit_events WHERE action = 'factor.reset'")
    assert found == [("terminal", cast.ada.id)]
    signed_in(app, cast.ada)


@pytest.mark.one_database
def test_reset_asks(app: Flask, runner: FlaskCliRunner, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal to ask at, it needs `--yes`."""
    mine = add_app(app, cast.sam)
    alone = run(runner, *RESET, "sam@example.com")
    assert (alone.exit_code, alone.stdout) == (2, "")
    assert "Give --yes" in alone.stderr
    monkeypatch.setattr("users.cli.prompts.has_terminal", lambda: True)
    kept = run(runner, *RESET, "sam@example.com", stdin="n\n")
    assert (kept.exit_code, kept.stdout) == (1, "")
    assert "Reset the second factor of sam@example.com (Authenticator app)?" in kept.stderr
    assert rows(app, "SELECT id FROM second_factors") == [(mine.factor_id,)]
    assert run(runner, *RESET, cast.sam.id, stdin="y\n").stdout == f"{cast.sam.id}\n"
    assert rows(app, "SELECT id FROM second_factors") == []


@pytest.mark.one_database
def test_reset_of_none(app: Flask, runner: FlaskCliRunner, cast: Cast) -> None:
    """A user without a second factor is no error, is not asked about, and stays signed in."""
    omar = signed_in(app, cast.omar)
    done = run(runner, *RESET, "omar@example.com")
    assert (done.exit_code, done.stdout) == (0, f"{cast.omar.id}\n")
    assert done.stderr == "No second factor to reset: omar@example.com\n"
    assert omar.is_in
    shown = run(runner, "users", "show", "omar@example.com", "--json").stdout
    printed = json.loads(run(runner, *RESET, "omar@example.com", "--json").stdout)
    assert printed.items() <= json.loads(shown).items()
    assert run(runner, *RESET, "nemo@example.com", "--yes").exit_code == 5


@pytest.mark.one_database
def test_show(app: Flask, runner: FlaskCliRunner, cast: Cast) -> None:
    """`users show` names the kinds; its JSON is the API's and holds nothing of them."""
    before = run(runner, "users", "show", "sam@example.com", "--json").stdout
    assert "\nSecond factor: None\n" in run(runner, "users", "show", "sam@example.com").stdout
    add_app(app, cast.sam)
    assert "\nSecond factor: Authenticator app\n" in run(runner, "users", "show", "sam@example.com").stdout
    assert run(runner, "users", "show", "sam@example.com", "--json").stdout == before
