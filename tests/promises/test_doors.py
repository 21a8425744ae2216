"""Every door accepts and refuses the same input with the same words: one table of cases, tried on all doors."""

import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from support.api import Api
from support.create_cases import API, CASES, CLI, FORM, TAKEN, through
from support.visitors import Visitor, problems_in
from users.services import user_queries

pytestmark = pytest.mark.one_database


def test_size_of_the_table() -> None:
    assert len(CASES) >= 60
    assert sum(CLI in case.doors for case in CASES.values()) >= 50


@pytest.mark.usefixtures("taken")
@pytest.mark.parametrize(("database_url", "name"), through(API), indirect=["database_url"])
def test_api(api: Api, name: str) -> None:
    case = CASES[name]
    answer = api.call("POST", "/v1/user/", json=case.members)
    if not case.errors:
        assert answer.status_code == 201
        assert {**answer.json, **case.stored} == answer.json
        return
    error = answer.json["error"]
    assert answer.status_code == error["status"] == (409 if case.errors == (TAKEN,) else 422)
    assert error["code"] == (case.errors[0][1] if len(case.errors) == 1 else "VALIDATION_ERROR")
    assert error["details"]["field"] == case.errors[0][0]
    assert field_errors(error) == list(case.errors)


@pytest.mark.usefixtures("taken")
@pytest.mark.parametrize(("database_url", "name"), through(CLI), indirect=["database_url"])
def test_command_line(runner: FlaskCliRunner, name: str) -> None:
    case = CASES[name]
    result = run_create(runner, case.members)
    again = run_create(runner, case.members, "--json")
    if not case.errors:
        assert result.exit_code == 0
        assert again.exit_code == 4  # it is taken now
        return
    assert result.exit_code == again.exit_code == (4 if case.errors == (TAKEN,) else 3)
    words = [error[2] for error in case.errors]
    assert [line.split(": usr_")[0] for line in result.stderr.splitlines()] == words
    assert result.stdout == ""
    assert field_errors(runner.app.json.loads(again.stdout)["error"]) == list(case.errors)


def test_terminal(runner: FlaskCliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """It refuses the same; the password is only asked for where nothing else is wrong."""
    monkeypatch.setattr("users.cli.prompts.has_terminal", lambda: True)
    tried = 0
    for case in CASES.values():
        password = case.members.get("password")
        if CLI not in case.doors or case.errors in ((), (TAKEN,)) or not password or "\n" in password:
            continue
        result = run_create(runner, case.members, typed=6)
        lines = result.stderr.splitlines()
        if others := [words for field, _, words in case.errors if field != "password"]:
            assert [line.split(": usr_")[0] for line in lines] == others
        else:
            assert [line.removesuffix(".") for line in lines if "Password:" not in line and "Repeat" not in line] == [
                words for _, _, words in case.errors
            ] * 3
        tried += 1
    assert tried >= 30


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if CLI in case.doors and not case.errors])
def test_command_line_prints_the_apis_user(runner: FlaskCliRunner, name: str) -> None:
    result = run_create(runner, CASES[name].members, "--json")
    assert result.exit_code == 0
    user = runner.app.json.loads(result.stdout)
    assert {**user, **CASES[name].stored} == user


@pytest.mark.usefixtures("taken")
@pytest.mark.parametrize(("database_url", "name"), through(FORM), indirect=["database_url"])
def test_form(app: Flask, ada: Visitor, name: str) -> None:
    case = CASES[name]
    answer = ada.create(**case.members)
    if not case.errors:
        assert answer.status_code == 303
        (user_id,) = re.findall(r"usr_[0-9a-f]{32}", answer.location)
        with app.app_context():
            user = user_queries.get_user(user_id).as_user()
        assert {**user, **case.stored} == user
        return
    assert answer.status_code == 422
    assert problems_in(answer) == [(field, words) for field, _, words in case.errors]


def run_create(runner: FlaskCliRunner, members: dict[str, Any], *options: str, typed: int = 0) -> Any:
    """Run `flask users create` with `members`; the password is typed so many times or given as a file."""
    for name in ("first_name", "last_name"):
        if name in members:
            options = (*options, f"--{name.replace('_', '-')}", members[name])
    command = ["users", "create", members["email"], *options, *([] if typed else ["--password-stdin"])]
    # The line break is what a shell's echo adds: the command takes off just that one.
    return runner.invoke(args=command, input=(members["password"] + "\n") * (typed or 1))


def field_errors(error: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the errors of fields in an error response."""
    return [(one["field"], one["code"], one["message"]) for one in error["details"]["errors"]]
