"""The page of the first steps: its call works with the key that was made, and only a success ticks it off."""

import html
import json
import re
import shlex

import pytest
from flask import Flask

from support.people import Cast, make_key, make_user
from support.visitors import Visitor
from users.roles import Permission, Role

START = "/admin/start"


def done(ada: Visitor) -> int:
    """Return how many steps are ticked off."""
    return int(ada.get(START).text.count('<li class="done">'))


def shown_call(ada: Visitor) -> list[str]:
    """Return the words of the curl that the page shows."""
    page = ada.get(START).text
    (block,) = re.findall(r'<pre id="curl".*?<code>(.*?)</code></pre>', page, re.DOTALL)
    return shlex.split(html.unescape(block))


def send(app: Flask, call: list[str], key: str) -> int:
    """Send a curl and return the status of its answer."""
    url = next(word for word in call if word.startswith("http://localhost"))
    body = json.loads(call[call.index("-d") + 1]) if "-d" in call else None
    method = "GET" if body is None else "POST"
    path = url.removeprefix("http://localhost")
    answer = app.test_client().open(path, method=method, json=body, headers={"X-API-Key": key})
    return answer.status_code


def make_key_on_page(ada: Visitor, scope: str) -> str:
    """Return a new key of Ada's."""
    page = ada.post("/admin/keys/new", name="CI", scopes=scope, owner="ada@example.com", expires="90")
    return str(re.findall(r"ak_[0-9A-Za-z]{40}", page.text)[0])


@pytest.mark.parametrize("scope", ["users:create", "users:read", "audit:read"])
def test_call_works_with_the_key_of_the_page(app: Flask, ada: Visitor, scope: str) -> None:
    assert done(ada) == 1  # the cast has been created
    key = make_key_on_page(ada, scope)
    assert done(ada) == 2
    assert send(app, shown_call(ada), key) == 200
    assert done(ada) == 3


@pytest.mark.one_database
@pytest.mark.parametrize("scope", [Permission.USERS_CREATE, Permission.USERS_READ])
@pytest.mark.parametrize(
    "settings", [{}, {"ENROL_PASSWORD_MIN_LENGTH": "60", "ENROL_PASSWORD_BLOCKLIST": "on"}], ids=["default", "strict"]
)
def test_call_works_with_the_key_of_a_command(app: Flask, ada: Visitor, scope: Permission) -> None:
    """A key without an owner, as the terminal says to make one."""
    key = make_key(app, scope)
    assert send(app, shown_call(ada), key) == 200
    assert done(ada) == 3


@pytest.mark.one_database
def test_newest_key_that_works(app: Flask, ada: Visitor) -> None:
    """A newer key whose owner was deactivated is passed over."""
    key = make_key(app, Permission.USERS_READ)
    left = make_user(app, "left@example.com", Role.ADMIN)
    make_key(app, Permission.USERS_CREATE, owner=left)
    assert ada.post(f"/admin/users/{left.id}/deactivate").status_code == 303
    assert send(app, shown_call(ada), key) == 200


@pytest.mark.one_database
def test_key_without_a_call(app: Flask, ada: Visitor) -> None:
    """A key that can neither create nor read users, and has no owner."""
    make_key(app, Permission.AUDIT_READ)
    page = ada.get(START).text
    assert "Your newest key can neither create nor read users." in page
    assert '<pre id="curl"' not in page


@pytest.mark.one_database
@pytest.mark.parametrize("path", ["/v1/user/me", "/v1/user/", "/v1/user/?limit=0", "/v1/nothing"])
def test_failed_call(app: Flask, ada: Visitor, path: str) -> None:
    """It ticks nothing off."""
    scope = Permission.USERS_READ if "limit" in path else Permission.USERS_CREATE
    answer = app.test_client().get(path, headers={"X-API-Key": make_key(app, scope)})
    assert answer.status_code in (400, 403, 404)
    assert done(ada) == 2


@pytest.mark.parametrize("path", ["/admin/users", "/admin/keys"])
def test_link_until_all_is_done(app: Flask, ada: Visitor, path: str) -> None:
    assert f'<a href="{START}">First steps: 1 of 3 done</a>' in ada.get(path).text
    key = make_key(app, Permission.USERS_READ)
    assert "First steps: 2 of 3 done" in ada.get(path).text
    app.test_client().get("/v1/user/", headers={"X-API-Key": key})
    assert START not in ada.get(path).text
    page = ada.get(START).text
    assert "<h1>All set</h1>" in page
    assert "Each ticks itself off" not in page
    assert re.findall(r'<a class="button[^"]*" href="([^"]+)"', page) == ["/admin/users", "/admin/keys"]


@pytest.mark.one_database
def test_others(omar: Visitor, cast: Cast) -> None:
    """The steps need the permissions to create users and to manage keys, and so does the link."""
    assert omar.get(START).status_code == 403
    assert START not in omar.get("/admin/users").text
