"""Users at the pages, without a browser: they read a form's CSRF token and send it back, as a browser would."""

import base64
import html
import json
import re
import zlib
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from support.api import Answer
from support.people import PASSWORD, Cast
from users.storage.models import User

OWN = "own"
LOGIN, NEW_USER = "/admin/login", "/admin/users/new"


@dataclass
class Visitor:
    """A user at the pages, with the cookies of one browser."""

    client: FlaskClient
    _tokens: dict[str, str] = field(default_factory=dict, repr=False)

    def get(self, path: str, **more: Any) -> Answer:
        """Open a page."""
        return self.client.get(path, buffered=True, **more)

    def token(self, path: str = LOGIN) -> str:
        """Return the token that the page at `path` carries."""
        return token_in(self.get(path))

    def post(self, path: str, *, token: str | None = OWN, headers: Any = None, **fields: Any) -> Answer:
        """Send a form, with the token of this browser session unless another, or None, is given."""
        if token == OWN:
            page = self.get("/account")
            token = token_in(page) if page.status_code == 200 else self.token(LOGIN)
        if "mark" not in fields and re.fullmatch(
            r"/admin/keys/(new|\w+/roll)|/admin/users/\w+/(password|verify)", path
        ):
            page = self.get(path)
            fields |= {"mark": mark_in(page), "was-expires_at": seen_end_in(page)}
        data = {**fields, "csrf_token": token} if token is not None else fields
        return self.client.post(path, data=data, headers=headers)

    def sign_in(self, email: str, password: str = PASSWORD, **more: Any) -> Answer:
        """Sign in."""
        return self.post(LOGIN, email=email, password=password, **more)

    def create(self, **fields: Any) -> Answer:
        """Send the sign-up form with a typed password; email and password are there unless given."""
        return self.post(NEW_USER, **{"email": "jo@example.com", "choice": "type", "password": PASSWORD, **fields})

    @property
    def session_id(self) -> str | None:
        """The value of the session cookie."""
        cookie = self.client.get_cookie("enrol")
        return cookie.value if cookie else None

    @session_id.setter
    def session_id(self, value: str) -> None:
        self.client.set_cookie("enrol", value)

    @property
    def is_in(self) -> bool:
        """Whether this browser is signed in."""
        return bool(self.get("/account").status_code == 200)


def token_in(page: Answer) -> str:
    """Return the first form's token."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert found, page.text
    return found[1]


def mark_in(page: Answer) -> str:
    """Return what the page's form says that it was made for; nothing if it does not."""
    found = re.search(r'name="mark" value="([^"]+)"', page.text)
    return html.unescape(found[1]) if found else ""


def seen_end_in(page: Answer) -> str:
    """Return which end of the API key the page's form was made for; nothing if it has none or does not say."""
    found = re.search(r'name="was-expires_at" value="([^"]+)"', page.text)
    return html.unescape(found[1]) if found else ""


def problems_in(page: Answer) -> list[tuple[str, str]]:
    """Return the fields and messages of the errors beside the fields."""
    found = re.findall(
        r'<p class="wrong" id="(\w+)-error"><span class="unseen">Error: </span>(.*?)(?:: <a|</p>)', page.text
    )
    return [(name, html.unescape(words)) for name, words in found]


def summary_in(page: Answer) -> str:
    """Return the summary of the errors, without its tags."""
    found = re.search(r'<div class="summary".*?</div>', page.text, re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", "", found[0])) if found else ""


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    """A browser without a session."""
    return Visitor(app.test_client())


@pytest.fixture
def ada(app: Flask, cast: Cast) -> Visitor:
    """Ada the administrator, signed in."""
    return signed_in(app, cast.ada)


@pytest.fixture
def omar(app: Flask, cast: Cast) -> Visitor:
    """Omar the operator, signed in."""
    return signed_in(app, cast.omar)


def signed_in(app: Flask, user: User) -> Visitor:
    """Return a new browser in which `user` has signed in."""
    visitor = Visitor(app.test_client())
    assert visitor.sign_in(user.email, token=visitor.token()).status_code == 303
    return visitor


def form_session_of(visitor: Visitor) -> dict[str, object]:
    """Return what the cookie of Flask's session holds, as anybody could read it."""
    cookie = visitor.client.get_cookie("enrol-form")
    assert cookie
    is_packed, packed = cookie.value.startswith("."), cookie.value.lstrip(".").partition(".")[0]
    data = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
    held: dict[str, object] = json.loads(zlib.decompress(data) if is_packed else data)
    return held


def generated_password_in(page: str) -> str:
    """Return the generated password that a page shows."""
    (password,) = re.findall(r'<code id="password-shown" translate="no">([^<]+)</code>', page)
    return str(password)


def can_sign_in(app: Flask, email: str, password: str) -> bool:
    """Tell whether this email and password open the pages."""
    return bool(Visitor(app.test_client()).sign_in(email, password).status_code == 303)
