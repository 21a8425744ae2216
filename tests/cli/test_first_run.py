"""What `flask run` and a production server print at the first start, and that a restart ends no session."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import requests
from flask import Flask
from flask.cli import run_command

from support.installations import Installation, installed
from support.people import PASSWORD
from support.servers import Server
from users.cli import first_run

COMMAND = "flask users create you@example.com --role role_admin"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Installation]:
    """A new folder to serve from."""
    with installed(tmp_path / "enrol") as made:
        yield made


def base_url(server: Server) -> str:
    """Return the URL of the server."""
    return f"http://127.0.0.1:{server.port}"


def hidden_in(page: requests.Response) -> dict[str, str]:
    """Return the hidden fields of the page's last form, by name."""
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text))


def send(browser: requests.Session, where: str, **fields: str) -> requests.Response:
    """Open the form at `where` and send it."""
    page = browser.get(where, timeout=10)
    return browser.post(page.url, data={**fields, **hidden_in(page)}, timeout=10)


def test_flask_run_prints_the_link(here: Installation) -> None:
    """Before the lines of the server."""
    (server,) = here.start("flask")
    block = (
        "No administrator yet. Open this link within 30 minutes to create one:\n\n"
        rf"    {re.escape(base_url(server))}/setup\?token=[\w-]{{43}}\n\n"
        f"or run: {COMMAND}\n"
    )
    assert re.search(rf"(?m)^{block}(.*\n)* \* Running on", server.log()), server.log()


def test_production_server_names_the_command(here: Installation) -> None:
    """Its output is a log, where a link would be readable for others. The command prints one while the server runs."""
    (server,) = here.start("granian")
    assert "No administrator yet. Run: flask setup-link" in server.log()
    printed = here.flask("setup-link", "--base-url", base_url(server))
    assert re.fullmatch(rf"{re.escape(base_url(server))}/setup\?token=[\w-]{{43}}\n", printed.stdout)
    assert printed.stderr == "Open this link within 30 minutes to create the first administrator:\n"
    browser = requests.Session()
    ended = send(browser, printed.stdout.strip(), email="ada@example.com", password=PASSWORD)
    assert ended.url.endswith("/admin/start")
    assert "token" not in server.log()
    again = here.flask("setup-link")
    assert (again.returncode, again.stdout) == (4, "")
    assert again.stderr.startswith("There is an administrator already.")


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("settings", "host", "base_url"),
    [
        ({}, "0.0.0.0", "http://127.0.0.1:5000"),  # noqa: S104  (only compared)
        ({}, "::", "http://[::1]:5000"),
        ({}, "localhost", "http://localhost:5000"),
        ({"ENROL_PUBLIC_URL": "https://users.example.com"}, "127.0.0.1", "https://users.example.com"),
    ],
)
def test_link_can_be_opened(app: Flask, host: str, base_url: str) -> None:
    """Its address is one for a browser."""
    with app.app_context(), click.Context(run_command) as context:
        context.params = {"host": host, "port": 5000}
        assert f"\n    {base_url}/setup?token=" in first_run._how_to_set_up()


def test_restart(here: Installation) -> None:
    """Sessions and keys stay valid, and no link is printed any more."""
    (server,) = here.start("flask")
    (link,) = re.findall(r"http://\S+token=\S+", server.log())
    browser = requests.Session()
    assert send(browser, link, email="ada@example.com", password=PASSWORD).url.endswith("/admin/start")
    new_key = {"name": "CI", "scopes": "users:read", "owner": "ada@example.com", "expires": "90"}
    shown = send(browser, f"{base_url(server)}/admin/keys/new", **new_key)
    key = re.findall(r"ak_[0-9A-Za-z]{40}", shown.text)[0]
    assert server.log().count(link.partition("token=")[2]) == 1  # where it was shown, and in no line of a request
    server.end()

    # On the same port, which is part of a cookie's name: other instances of the machine have theirs.
    server = here.launch(here.command("flask", "--port", str(server.port))[0], server.port)
    assert "setup" not in server.log()
    assert browser.get(f"{base_url(server)}/admin/users", timeout=10, allow_redirects=False).status_code == 200
    assert server.call("GET", "/v1/user/me", key=key).status == 200
