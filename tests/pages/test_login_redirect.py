"""A sign-in that interrupts a form: nothing typed is lost but the password."""

import re
from typing import Any

import pytest
from flask import Flask

from support.databases import rows
from support.page_forms import CANARY
from support.people import PASSWORD, Cast
from support.visitors import LOGIN, NEW_USER, Visitor, token_in

pytestmark = pytest.mark.one_database


def test_stale_token(ada: Visitor) -> None:
    """The form is shown again with all fields but the password."""
    typed = {"email": "jo@", "first_name": "Jo <b>", "last_name": "O’Neil", "global_role_id": "role_auditor"}
    page = ada.create(**typed, password=CANARY, token="stale")
    assert page.text.count("autofocus") == 1
    for value in ("jo@", "Jo &lt;b&gt;", "O’Neil"):
        assert f'value="{value}"' in page.text
    assert '<option selected value="role_auditor">' in page.text
    assert re.search(r'value="type" id="choice-2" checked', page.text)
    assert CANARY not in page.text
    assert ada.post(NEW_USER, token=token_in(page), choice="generate", email="jo@example.com").status_code == 200


def test_session_ended(app: Flask, ada: Visitor) -> None:
    """After the sign-in the form is shown with all fields but the password."""
    token = ada.token("/account")
    ada.client.delete_cookie("enrol")
    typed = {"email": "jo@example.com", "first_name": "Jo", "global_role_id": "role_auditor", "choice": "type"}
    asked = ada.post(NEW_USER, token=token, password=CANARY, **typed)
    assert asked.status_code == 403
    assert "Sign in again" in asked.text
    assert CANARY not in asked.text
    assert "jo@" not in re.findall(r'<input[^>]+id="email"[^>]*>', asked.text)[0]  # not who signs in
    kept = {f"kept-{name}": value for name, value in typed.items()}
    for name, value in kept.items():
        assert f'name="{name}" value="{value}"' in asked.text

    wrong = ada.post(LOGIN, token=token_in(asked), email="ada@example.com", password="wrong", next=NEW_USER, **kept)
    assert wrong.status_code == 422
    assert all(f'name="{name}" value="{value}"' in wrong.text for name, value in kept.items())

    page = ada.post(LOGIN, token=token_in(wrong), email="ada@example.com", password=PASSWORD, next=NEW_USER, **kept)
    assert page.status_code == 200
    assert "You are signed in again" in page.text
    assert 'action="/admin/users/new"' in page.text
    assert 'value="jo@example.com"' in page.text
    assert 'value="Jo"' in page.text
    assert '<option selected value="role_auditor">' in page.text
    assert rows(app, "SELECT 1 FROM users WHERE email = 'jo@example.com'") == []
    assert ada.post(NEW_USER, token=token_in(page), password=PASSWORD, **typed).status_code == 303


@pytest.mark.parametrize("path", ["/admin/users/{}/deactivate", "/account/sessions"])
def test_session_ended_without_fields(app: Flask, ada: Visitor, cast: Cast, path: str) -> None:
    """The sign-in page says that nothing was done."""
    token = ada.token("/account")
    ada.client.delete_cookie("enrol")
    asked = ada.post(path.format(cast.omar.id), token=token)
    assert asked.status_code == 403
    assert "Your session has ended" in asked.text
    assert "So nothing was done." in asked.text
    assert rows(app, "SELECT 1 FROM users WHERE NOT is_active") == []


@pytest.mark.parametrize("token", ["own", "stale"])
def test_sign_out_after_end(ada: Visitor, token: str) -> None:
    """A sign-out of an ended session signs out."""
    sent = ada.token("/account") if token == "own" else token
    ada.session_id = "ended"
    answer = ada.post("/admin/logout", token=sent)
    assert (answer.status_code, answer.location) == (303, "/admin/login")
    assert ada.session_id is None


def test_sign_in_in_another_tab(cast: Cast, visitor: Visitor) -> None:
    """The sign-in form of another tab leads on once signed in."""
    before = visitor.token(LOGIN)
    visitor.sign_in("ada@example.com")
    there = {"email": "ada@example.com", "password": PASSWORD, "token": before}
    answer = visitor.post(LOGIN, next="/admin/keys", **there)
    assert (answer.status_code, answer.location) == (303, "/admin/keys")
    page = visitor.post(LOGIN, next=NEW_USER, **there, **{"kept-email": "jo@example.com"})
    assert page.status_code == 200
    assert 'value="jo@example.com"' in page.text
    assert "There is a problem" not in page.text


@pytest.mark.parametrize("path", ["/admin", "/admin/"])
def test_short_paths(cast: Cast, visitor: Visitor, path: str) -> None:
    """The short paths lead to the overview, by the sign-in."""
    there = visitor.get(path).location
    assert there.startswith(LOGIN)
    assert visitor.client.get(there).status_code == 200
    assert visitor.sign_in("ada@example.com", next=path).location == path
    assert visitor.get(path).status_code == 200


def test_repeated_fields(ada: Visitor, cast: Cast) -> None:
    """Several ticked boxes of one name survive the sign-in."""
    ada.client.delete_cookie("enrol")
    scopes = ["users:read", "users:update"]
    asked = ada.post("/admin/keys/new", name="CI", scopes=scopes, owner="omar@example.com", expires="365")
    kept: dict[str, Any] = {
        "kept-name": "CI",
        "kept-scopes": scopes,
        "kept-owner": "omar@example.com",
        "kept-expires": "365",
    }
    assert asked.text.count('name="kept-scopes"') == 2
    page = ada.post(LOGIN, email="ada@example.com", password=PASSWORD, next="/admin/keys/new", **kept).text
    assert re.findall(r'value="(users:\w+)" id="scopes-\d" checked', page) == scopes
    assert 'value="omar@example.com"' in page
    assert re.search(r'value="365" id="expires-2" checked', page)


@pytest.mark.parametrize(
    "there", ["/nope", "/setup", "/v1/user/me", "/v1/user/", "/admin/audit", "//evil.example", "/admin/login"]
)
def test_kept_fields_open_no_other_door(cast: Cast, visitor: Visitor, there: str) -> None:
    answer = visitor.sign_in("ada@example.com", next=there, **{"kept-email": "jo@example.com"})
    assert (answer.status_code, answer.location) == (303, "/admin")


def test_other_user_signs_in(cast: Cast, visitor: Visitor) -> None:
    """Another user who signs in needs the form's permission."""
    answer = visitor.sign_in("vera@example.com", next=NEW_USER, **{"kept-email": "jo@example.com"})
    assert answer.status_code == 403


def test_most_kept_fields(visitor: Visitor) -> None:
    """The sign-in page keeps at most MOST_KEPT fields."""
    page = visitor.post(NEW_USER, **{f"field{number}": "x" for number in range(500)})
    assert page.status_code == 403
    assert page.text.count('name="kept-') == 100
