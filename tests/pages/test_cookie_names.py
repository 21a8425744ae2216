"""The names of the cookies: two services on one machine do not sign each other's users out."""

import shutil
import urllib.request
from dataclasses import dataclass, field
from email.message import Message
from http.cookiejar import CookieJar
from pathlib import Path
from types import SimpleNamespace

import pytest
from flask import Flask

from app import create_app
from support.api import Answer
from support.application import CHEAP, dispose
from support.people import PASSWORD, make_user
from support.visitors import LOGIN, token_in
from users.http import session_cookie
from users.roles import Role

ACCOUNT, LOGOUT = "/account", "/admin/logout"


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("settings", "base_url", "name"),
    [
        ({}, "http://localhost", "enrol"),
        ({}, "http://localhost:5000", "enrol-5000"),
        ({}, "http://[::1]:5000", "enrol-5000"),
        ({}, "http://192.168.0.7:5000", "enrol-5000"),
        ({}, "http://xn--:5000", "enrol-5000"),
        ({}, "https://127.0.0.1:8443", "__Host-enrol-8443"),
        ({}, "https://users.example.com", "__Host-enrol"),
        ({}, "https://users.example.com:8443", "__Host-enrol"),
        ({"ENROL_PUBLIC_URL": "http://localhost:8080"}, "http://localhost", "enrol-8080"),
        ({"ENROL_PUBLIC_URL": "https://users.example.com"}, "http://localhost:5000", "__Host-enrol"),
    ],
)
def test_port_in_the_name(app: Flask, base_url: str, name: str) -> None:
    """The port that people see, except over https at a name of its own."""
    with app.test_request_context(base_url=base_url):
        assert session_cookie.cookie_name() == name
        assert session_cookie.cookie_name("form") == name.replace("enrol", "enrol-form")


@dataclass
class Browser:
    """A browser, which sends a cookie to all ports of its host, as RFC 6265 says in section 8.5."""

    jar: CookieJar = field(default_factory=CookieJar)

    def open(self, app: Flask, port: int, path: str, form: dict[str, str] | None = None) -> Answer:
        """Open a page of the application at this port, or send it a form."""
        base = f"http://127.0.0.1:{port}"
        request = urllib.request.Request(f"{base}{path}")
        self.jar.add_cookie_header(request)
        headers = {"Cookie": request.get_header("Cookie") or ""}
        client = app.test_client(use_cookies=False)
        answer = client.open(path, method="POST" if form else "GET", base_url=base, headers=headers, data=form)
        received = Message()
        for value in answer.headers.getlist("Set-Cookie"):
            received.add_header("Set-Cookie", value)
        self.jar.extract_cookies(SimpleNamespace(info=lambda: received), request)  # type: ignore[arg-type]
        return answer

    def send(self, app: Flask, port: int, path: str, page: str, **fields: str) -> int:
        """Send the form of this path with the token of `page`, and return the status."""
        token = token_in(self.open(app, port, page))
        status: int = self.open(app, port, path, {"csrf_token": token, **fields}).status_code
        return status


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.usefixtures("cast")
def test_two_services_on_one_machine(app: Flask, migrated_sqlite: Path, tmp_path: Path) -> None:
    """A user can be signed in to both, and sign out of one."""
    copy = shutil.copy(migrated_sqlite, tmp_path / "other.db")
    other = create_app({**CHEAP, "SECRET_KEY": CHEAP["SECRET_KEY"][::-1], "DATABASE_URL": f"sqlite:///{copy}"})
    make_user(other, "ada@example.com", Role.ADMIN)
    browser = Browser()
    for one, port in ((app, 5000), (other, 5001)):
        assert browser.send(one, port, LOGIN, LOGIN, email="ada@example.com", password=PASSWORD) == 303
    for one, port in ((app, 5000), (other, 5001), (app, 5000)):
        assert browser.open(one, port, ACCOUNT).status_code == 200
    assert browser.send(app, 5000, LOGOUT, ACCOUNT) == 303
    assert browser.open(app, 5000, ACCOUNT).status_code == 303
    assert browser.open(other, 5001, ACCOUNT).status_code == 200
    dispose(other)
