"""The link that verifies an email: only that email, for a day, and only by a click."""

import re
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import pytest
from flask import Flask

from support.api import Api
from support.databases import rows
from support.people import Cast, make_key, make_user
from support.verification_links import TERMINAL, click, issue, opened, trail, verified_at
from support.visitors import Visitor, token_in
from users import clock
from users.roles import Permission, Role
from users.services.links import email_verification
from users.storage.models import User

pytestmark = pytest.mark.one_database


def test_link_by_the_api(app: Flask, api: Api, cast: Cast, visitor: Visitor) -> None:
    api.key = make_key(app, Permission.USERS_UPDATE, owner=cast.omar)
    before = clock.now().replace(microsecond=0)
    answer = api.call("POST", f"/v1/user/{cast.sam.id}/verification")
    assert answer.status_code == 201
    assert list(answer.json) == ["verification_url", "expires_at"]
    ends = datetime.fromisoformat(answer.json["expires_at"])
    assert before + timedelta(hours=24) <= ends <= clock.now() + timedelta(hours=24)
    url = urlsplit(answer.json["verification_url"])
    assert (url.scheme, url.netloc, url.path) == ("http", "localhost", "/verify")
    assert verified_at(app, cast.sam) is None
    page = opened(visitor, url.query.removeprefix("token="))
    assert click(visitor, page).location == "/verify"
    assert "Your email address is verified" in visitor.get("/verify").text
    assert verified_at(app, cast.sam)
    assert trail(app) == [
        ("verification.create", "key", cast.omar.id, cast.sam.id),
        ("user.verify", "verification", None, cast.sam.id),
    ]


@pytest.mark.parametrize(
    ("settings", "host", "base"),
    [
        ({}, "127.0.0.1:5000", "http://127.0.0.1:5000"),
        ({}, "stranger.example", None),
        ({"ENROL_PUBLIC_URL": "https://users.example.com"}, "stranger.example", "https://users.example.com"),
        ({"ENROL_TRUSTED_HOSTS": "users.example.com"}, "users.example.com", "http://users.example.com"),
    ],
)
def test_base_url_of_the_link(app: Flask, api: Api, cast: Cast, host: str, base: str | None) -> None:
    api.key = make_key(app, Permission.USERS_UPDATE)
    answer = api.call("POST", f"/v1/user/{cast.sam.id}/verification", headers={"Host": host})
    if base:
        assert answer.json["verification_url"].startswith(f"{base}/verify?token=usr_")
        return
    error = answer.json["error"]
    assert (answer.status_code, error["code"]) == (400, "UNTRUSTED_HOST")
    assert "ENROL_PUBLIC_URL" in error["message"]
    assert trail(app) == []


def test_needs_permissions(app: Flask, api: Api, cast: Cast) -> None:
    api.key = make_key(app, Permission.USERS_UPDATE, owner=cast.omar)
    for user_id, status in ((cast.ada.id, 403), ("usr_" + "0" * 32, 404), ("nobody", 404), (cast.sam.id, 201)):
        assert api.call("POST", f"/v1/user/{user_id}/verification").status_code == status
    assert len(trail(app)) == 1


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_opening_verifies_nothing(app: Flask, cast: Cast, visitor: Visitor, method: str) -> None:
    """Mail scanners open every link, some with a browser that follows redirects."""
    token = issue(app, cast.sam)
    for _ in range(2):
        visitor.client.open(f"/verify?token={token}", method=method, follow_redirects=True)
    assert verified_at(app, cast.sam) is None
    page = opened(visitor, token)
    assert "sam@example.com" in page.text
    assert page.text.count("<button") == 1


def test_form_without_token(app: Flask, cast: Cast, visitor: Visitor) -> None:
    link = issue(app, cast.sam)
    opened(visitor, link)
    assert visitor.post("/verify", token=None, link=link).status_code == 400
    page = visitor.get("/verify")
    foreign = visitor.post("/verify", token=token_in(page), link=link, headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 403
    assert verified_at(app, cast.sam) is None


def test_verified_twice(app: Flask, cast: Cast, visitor: Visitor) -> None:
    page = opened(visitor, issue(app, cast.sam))
    assert click(visitor, page).location == "/verify"
    at = verified_at(app, cast.sam)
    assert click(visitor, page).location == "/verify"
    again = visitor.get("/verify")
    assert again.status_code == 200
    assert "Your email address is verified" in again.text
    assert verified_at(app, cast.sam) == at
    assert len(trail(app)) == 2


def test_parallel_clicks(app: Flask, cast: Cast, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(visitor, issue(app, cast.sam))
    find = email_verification.find_user

    def find_and_use(token: str) -> User:
        user = find(token)
        monkeypatch.setattr(email_verification, "find_user", find)
        email_verification.use(token, actor=TERMINAL)
        return user

    monkeypatch.setattr(email_verification, "find_user", find_and_use)
    assert click(visitor, page).location == "/verify"
    assert len(trail(app)) == 2


def test_broken_link_after_another(app: Flask, cast: Cast, visitor: Visitor) -> None:
    opened(visitor, issue(app, cast.sam))
    assert "sam@example.com" not in visitor.get("/verify?token=usr_broken").text


def test_two_links_in_one_browser(app: Flask, cast: Cast, visitor: Visitor) -> None:
    first = opened(visitor, issue(app, cast.sam))
    opened(visitor, issue(app, cast.omar))
    click(visitor, first)
    assert verified_at(app, cast.sam)
    assert verified_at(app, cast.omar) is None
    assert "sam@example.com" in visitor.get("/verify").text


def test_page_without_a_link(visitor: Visitor) -> None:
    page = visitor.get("/verify")
    assert page.status_code == 410
    assert "Open the link that was sent to you." in page.text


def test_where_token_and_email_appear(
    app: Flask, cast: Cast, visitor: Visitor, capfd: pytest.CaptureFixture[str]
) -> None:
    token = issue(app, cast.sam)
    assert "sam" not in token  # an email in a URL ends up in the logs of proxies
    first = visitor.get(f"/verify?token={token}")
    assert "HttpOnly" in first.headers["Set-Cookie"]
    page = visitor.get("/verify")
    assert page.headers["Referrer-Policy"] == "same-origin"  # and the URL of this page has no token
    title = re.search("<title>(.*)</title>", page.text)
    assert title
    assert title[1] == "Verify your email address – Enrol"
    click(visitor, page)
    visitor.get(f"/verify?token={token}x")
    shown = "".join(capfd.readouterr())
    assert "/verify" in shown
    assert token not in shown
    assert token not in str([tuple(row) for row in rows(app, "SELECT * FROM audit_events")])


def test_link_of_an_administrator(app: Flask, cast: Cast, ada: Visitor) -> None:
    """It works signed in and signed out."""
    grace = make_user(app, "grace@example.com", Role.ADMIN)
    click(ada, opened(ada, issue(app, grace)))
    assert verified_at(app, grace)
    assert ada.is_in
