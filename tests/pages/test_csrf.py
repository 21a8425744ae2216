"""Only forms of this site and this session change something, and only in UTF-8."""

import gzip
import re
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask

from support.databases import execute, rows
from support.factors import FACTOR
from support.page_forms import CANARY, EVERY_FIELD
from support.people import PASSWORD, Cast
from support.visitors import LOGIN, NEW_USER, Visitor, signed_in, summary_in, token_in
from users.actors import terminal
from users.services.links import email_verification, password_links

pytestmark = pytest.mark.one_database

STALE = "This page was open for too long, so nothing was saved."


def state(app: Flask) -> list[Any]:
    """Return everything that a page could have changed."""
    tables = {"users": "id", "api_keys": "id", "admin_sessions": "id_hash", "audit_events": "id"}
    ignored = {"last_seen_at", "challenge", "challenge_made_at"}
    found = []
    for table, order in tables.items():
        for row in rows(app, f"SELECT * FROM {table} ORDER BY {order}"):
            found.append([value for name, value in row._mapping.items() if name not in ignored])
    return found


@pytest.mark.parametrize("kind", ["missing", "empty", "nonsense", "of another", "from before the sign-in"])
def test_wrong_token(app: Flask, cast: Cast, changing: list[str], kind: str) -> None:
    """A form with a CSRF token of no or another session changes nothing."""
    ada = Visitor(app.test_client())
    before = ada.token(LOGIN)
    ada.sign_in("ada@example.com")
    token = {
        "missing": None,
        "empty": "",
        "nonsense": "x.y.z",
        "of another": signed_in(app, cast.omar).token("/account"),
        "from before the sign-in": before,
    }[kind]
    with app.app_context():
        links = {
            "/password": password_links.make(cast.sam.id, actor=terminal("req_test00000000")).token,
            "/verify": email_verification.issue(cast.sam.id, actor=terminal("req_test00000000")).token,
        }
    then = state(app)
    for path in changing:
        answer = ada.post(path, token=token, **EVERY_FIELD, link=links.get(path, ""))
        if path == "/setup":
            assert answer.status_code == 404
            continue
        if path in (LOGIN, "/account/password"):  # a user who is signed in goes on, as the same user
            assert (answer.status_code, answer.location) == (303, "/admin")
            continue
        if path == FACTOR or path.endswith(("/codes", "/activate")):  # nothing awaits that at the moment
            assert answer.status_code == 303
            continue
        assert answer.status_code == 400, path
        assert STALE in summary_in(answer), path
        assert CANARY not in answer.text
        assert PASSWORD not in answer.text
    assert state(app) == then


def test_planted_cookie(app: Flask, cast: Cast, visitor: Visitor) -> None:
    """A cookie from before the sign-in, with its token, is refused after it."""
    token = visitor.token(LOGIN)
    planted = visitor.client.get_cookie("enrol-form")
    assert planted
    visitor.sign_in("ada@example.com")
    visitor.client.set_cookie("enrol-form", planted.value)
    assert visitor.post(NEW_USER, token=token, **EVERY_FIELD).status_code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "http://localhost:8080"},
        {"Origin": "https://localhost"},
        {"Origin": "localhost"},
        {"Origin": "http://["},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "", "Host": "a b"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": ""},
        {"Sec-Fetch-Site": "same-origin, same-origin"},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "null", "Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_foreign_form(app: Flask, ada: Visitor, changing: list[str], headers: dict[str, str]) -> None:
    """Origin and Sec-Fetch-Site of another site are refused."""
    then = state(app)
    token = ada.token("/account")
    for path in changing:
        answer = ada.post(path, token=token, headers=headers, **EVERY_FIELD)
        assert answer.status_code == 403, path
        assert "<h1>This form was refused</h1>" in answer.text
        assert "WWW-Authenticate" not in answer.headers
    assert state(app) == then


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://localhost"},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://localhost:8443", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
    ],
    ids=str,
)
def test_a_form_from_this_site_is_believed(ada: Visitor, headers: dict[str, str]) -> None:
    assert ada.create(headers=headers).status_code == 303


@pytest.mark.parametrize("settings", [{"ENROL_PUBLIC_URL": "https://users.example.com"}])
def test_public_url_as_origin(app: Flask, cast: Cast) -> None:
    """Behind a proxy, ENROL_PUBLIC_URL is an accepted Origin."""
    client, base = app.test_client(), "https://users.example.com"
    token = token_in(client.get(LOGIN, base_url=base))
    fields = {"email": "ada@example.com", "password": PASSWORD, "csrf_token": token}
    for headers, status in (({"Origin": base}, 303), ({"Origin": "https://other.example.com"}, 403)):
        assert client.post(LOGIN, base_url=base, data=fields, headers=headers).status_code == status


def test_small_files(ada: Visitor, changing: list[str]) -> None:
    """The style sheet and the script are small, and no page has inline style or script."""
    static = Path(ada.client.application.static_folder or "")
    style = (static / "app.css").read_bytes()
    assert len(style) < 24_000
    assert len(gzip.compress(style)) < 6_000
    assert (static / "app.js").stat().st_size < 6_000
    for path in ("/admin/users", "/admin/keys", "/admin/start", *changing):
        page = ada.get(path).text
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]+src=)|javascript:|data:", page), path


NOT_UTF_8 = {
    "percent": ("application/x-www-form-urlencoded", b"first_name=Ren%E9&"),
    "in a password": ("application/x-www-form-urlencoded", b"password=correct+horse+%E9t%E9&"),
    "half of a surrogate pair": ("application/x-www-form-urlencoded", b"last_name=%ED%A0%80&"),
    "in a name": ("application/x-www-form-urlencoded", b"%E9=1&"),
    "as it is": ("application/x-www-form-urlencoded", b"first_name=Ren\xe9&"),
    "in parts": (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="first_name"\r\n\r\nRen\xe9\r\n',
    ),
}


@pytest.mark.parametrize("kind", NOT_UTF_8)
@pytest.mark.parametrize("signed_out", [False, True])
def test_form_not_utf8(app: Flask, ada: Visitor, cast: Cast, kind: str, signed_out: bool) -> None:
    """Werkzeug reads `%E9` in its place: a user would be called so, or have it in the password."""
    content_type, beginning = NOT_UTF_8[kind]
    fields = {
        "email": "rene@example.com",
        "choice": "type",
        "password": PASSWORD,
        "csrf_token": ada.token("/admin/users"),
    }
    if signed_out:
        execute(app, "DELETE FROM admin_sessions")
    before = state(app)
    for path in ("/admin/users/new", f"/admin/users/{cast.sam.id}/password", "/admin/login", "/admin/keys/new"):
        if content_type.startswith("multipart"):
            parts = [f'--x\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items()]
            rest = "".join([*parts, "--x--\r\n"])
        else:
            rest = urlencode(fields)
        answer = ada.client.post(path, data=beginning + rest.encode(), content_type=content_type)
        assert answer.status_code == 400
        assert "This form was not sent in UTF-8, so nothing was saved." in answer.text
    assert state(app) == before


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_form(app: Flask, ada: Visitor, coding: str) -> None:
    """No browser compresses a form; its bytes are not UTF-8, and nothing is saved."""
    form = urlencode(
        {"email": "jo@example.com", "choice": "generate", "csrf_token": ada.token("/admin/users")}
    ).encode()
    body = gzip.compress(form) if coding == "gzip" else zlib.compress(form)
    headers = {"Content-Encoding": coding, "Content-Type": "application/x-www-form-urlencoded"}
    answer = ada.client.post(NEW_USER, data=body, headers=headers)
    assert answer.status_code == 400
    assert "This form was not sent in UTF-8, so nothing was saved." in answer.text


@pytest.mark.parametrize("name", ["René", "René \N{REPLACEMENT CHARACTER}", "100%E9", "سامي +"])
@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "multipart/form-data"])
def test_form_in_utf8(app: Flask, ada: Visitor, name: str, content_type: str) -> None:
    """A name is stored as it was typed."""
    fields = {"email": "rene@example.com", "first_name": name, "choice": "type", "password": PASSWORD}
    sent = {**fields, "csrf_token": ada.token("/admin/users")}
    assert ada.client.post("/admin/users/new", data=sent, content_type=content_type).status_code == 303
    assert rows(app, "SELECT first_name FROM users WHERE email = 'rene@example.com'") == [(name,)]
