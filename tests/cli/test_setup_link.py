"""`flask setup-link`: a link for the first administrator, alone on stdout."""

import re

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from support.command_line import run
from support.people import make_user
from support.visitors import Visitor
from users.roles import Role


def link(runner: FlaskCliRunner, *options: str) -> str:
    """Return the link that the command prints."""
    printed = run(runner, "setup-link", *options)
    assert printed.exit_code == 0, printed.stderr
    return str(printed.stdout).removesuffix("\n")


def test_new_link_ends_the_old(app: Flask, runner: FlaskCliRunner) -> None:
    first, second = link(runner), link(runner)
    for path, heading in ((first, "This set-up link has ended"), (second, "Create the first administrator")):
        browser = Visitor(app.test_client())
        assert browser.get(path.partition("8000")[2]).status_code == 303
        assert f"<h1>{heading}</h1>" in browser.get("/setup").text


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("settings", "options", "base_url"),
    [
        ({}, (), "http://127.0.0.1:8000"),
        ({}, ("--base-url", "http://LOCALHOST:5000/"), "http://localhost:5000"),
        ({"ENROL_PUBLIC_URL": "https://users.example.com"}, (), "https://users.example.com"),
        ({"ENROL_PUBLIC_URL": "https://users.example.com"}, ("--base-url", "http://[::1]:80"), "http://[::1]:80"),
    ],
)
def test_base_url(runner: FlaskCliRunner, options: tuple[str, ...], base_url: str) -> None:
    assert re.fullmatch(rf"{re.escape(base_url)}/setup\?token=[\w-]{{43}}", link(runner, *options))
    is_guess = "on this machine" in run(runner, "setup-link", *options).stderr
    assert is_guess is (base_url == "http://127.0.0.1:8000")


@pytest.mark.one_database
@pytest.mark.parametrize("text", ["users.example.com", "ftp://x", "http://x/path", "http://x:port", "http://[::1"])
def test_bad_base_url(runner: FlaskCliRunner, text: str) -> None:
    printed = run(runner, "setup-link", "--base-url", text)
    assert (printed.exit_code, printed.stdout) == (2, "")
    assert "takes the address people use" in printed.stderr


def test_administrator_exists(app: Flask, runner: FlaskCliRunner) -> None:
    make_user(app, "ada@example.com", Role.ADMIN)
    printed = run(runner, "setup-link")
    assert (printed.exit_code, printed.stdout) == (4, "")
    assert printed.stderr.startswith("There is an administrator already.")


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("host", "command"),
    [
        ("localhost:5000", "flask setup-link --base-url http://localhost:5000"),
        ("127.0.0.1:8000", "flask setup-link"),
        ("evil.example", "flask setup-link"),
    ],
)
def test_page_shows_the_command(visitor: Visitor, host: str, command: str) -> None:
    """With the address that the browser used, if that is known to be Enrol's."""
    page = visitor.client.get("/setup", base_url=f"http://{host}").text
    assert f"<code>{command}</code>" in page
