"""The link that verifies an address: for that address alone, for a day, and only by a click."""

import hashlib
import re
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from itsdangerous import Signer

from app import create_app
from support.api import Answer, Api
from support.application import CHEAP, SECRET_KEY, dispose
from support.databases import rows
from support.people import Cast, make_key, make_user
from support.visitors import Visitor, token_in
from users import clock
from users.actors import terminal
from users.roles import Permission, Role
from users.rules import validation
from users.services import email_verification, user_changes, user_queries
from users.storage.models import User

TERMINAL = terminal("req_test00000000")
ENDED = "This link has ended"


def issue(app: Flask, user: User) -> str:
    """Return the token of a new link."""
    with app.app_context():
        return email_verification.issue(user.id, actor=TERMINAL).token


def opened(visitor: Visitor, token: str) -> Answer:
    """Open the link as a browser does."""
    answer = visitor.get(f"/verify?token={token}")
    assert (answer.status_code, answer.location) == (303, "/verify")
    return visitor.get("/verify")


def click(visitor: Visitor, page: Answer) -> Answer:
    """Send the form of the page."""
    found = re.search(r'name="link" value="([^"]+)"', page.text)
    assert found, page.text
    return visitor.post("/verify", token=token_in(page), link=found[1])


def verified_at(app: Flask, user: User) -> datetime | None:
    """Return when the address was last verified."""
    with app.app_context():
        return user_queries.get_user(user.id).last_verified


def trail(app: Flask) -> list[tuple[Any, ...]]:
    """Return what was done with links."""
    acts = "SELECT action, actor_kind, actor_user_id, target_id FROM audit_events"
    found = rows(app, f"{acts} WHERE action IN ('verification.create', 'user.verify') ORDER BY id")
    return [tuple(row) for row in found]


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


def test_newer_link(app: Flask, cast: Cast, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    click(visitor, opened(visitor, issue(app, cast.sam)))
    later = clock.now() + timedelta(days=400)
    monkeypatch.setattr(clock, "now", lambda: later)
    page = opened(visitor, issue(app, cast.sam))
    click(visitor, page)
    assert verified_at(app, cast.sam) == later


def void_by_email(app: Flask, user: User) -> None:
    """Give the user another address."""
    _change(app, user, "other@example.com")


def void_by_spelling(app: Flask, user: User) -> None:
    """Write the user's address otherwise."""
    _change(app, user, "SAM@example.com")


def void_by_deletion(app: Flask, user: User) -> None:
    """Delete the user, and give the address to another one."""
    with app.app_context():
        user_changes.delete_user(user.id, actor=TERMINAL)
    make_user(app, user.email)


def _change(app: Flask, user: User, email: str) -> None:
    changes = validation.user_changes({"email": email}, validation.Rules())
    with app.app_context():
        user_changes.update_user(user.id, changes, actor=TERMINAL)


def void_by_return(app: Flask, user: User) -> None:
    """Give the user another address, and the first one back."""
    _change(app, user, "other@example.com")
    _change(app, user, user.email)


@pytest.mark.parametrize("void", [void_by_email, void_by_spelling, void_by_return, void_by_deletion])
def test_link_of_a_changed_email(app: Flask, cast: Cast, visitor: Visitor, void: Any) -> None:
    token = issue(app, cast.sam)
    page = opened(visitor, token)
    void(app, cast.sam)
    for answer in (click(visitor, page), opened(visitor, token)):
        assert answer.status_code == 410
        assert ENDED in answer.text
        assert "ask whoever sent it to you for a new one." in answer.text
    assert rows(app, "SELECT 1 FROM users WHERE last_verified IS NOT NULL") == []


def test_email_changed_back(app: Flask, cast: Cast, visitor: Visitor) -> None:
    void_by_return(app, cast.sam)
    older = issue(app, cast.sam)
    assert click(visitor, opened(visitor, issue(app, cast.sam))).status_code == 303
    assert verified_at(app, cast.sam)
    void_by_return(app, cast.sam)
    assert opened(visitor, older).status_code == 410


def test_link_of_an_older_version(app: Flask, cast: Cast, visitor: Visitor) -> None:
    """Before `email_changed_at` existed, the signature covered only the email."""
    until = int((clock.now() + timedelta(hours=1)).timestamp())
    salt = f"verification of {cast.sam.email}"
    signer = Signer(SECRET_KEY, salt, key_derivation="hmac", digest_method=hashlib.sha256)
    token = signer.sign(f"{cast.sam.id}.{until}").decode()
    assert click(visitor, opened(visitor, token)).status_code == 303
    assert verified_at(app, cast.sam)


def test_email_changed_during_the_click(
    app: Flask, cast: Cast, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(visitor, issue(app, cast.sam))
    find = email_verification.find_user

    def find_and_void(token: str) -> User:
        user = find(token)
        monkeypatch.setattr(email_verification, "find_user", find)
        void_by_email(app, user)
        return user

    monkeypatch.setattr(email_verification, "find_user", find_and_void)
    assert click(visitor, page).status_code == 410
    assert verified_at(app, cast.sam) is None


def test_expiry(app: Flask, cast: Cast, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    with app.app_context():
        issued = email_verification.issue(cast.sam.id, actor=TERMINAL)
    page = opened(visitor, issued.token)
    monkeypatch.setattr(clock, "now", lambda: issued.expires_at - timedelta(seconds=1))
    assert opened(visitor, issued.token).status_code == 200
    monkeypatch.setattr(clock, "now", lambda: issued.expires_at)
    for answer in (click(visitor, page), opened(visitor, issued.token)):
        assert (answer.status_code, ENDED in answer.text) == (410, True)
    assert verified_at(app, cast.sam) is None


def test_forged_links(app: Flask, cast: Cast, visitor: Visitor) -> None:
    user_id, until, signature = issue(app, cast.sam).split(".")
    forged = [
        f"{cast.omar.id}.{until}.{signature}",
        f"{user_id}.{int(until) + 1}.{signature}",
        f"{user_id}.99999999999.{signature}",
        f"{user_id}.{until}.{'A' * 43}",
        f"{user_id}.{until}.{signature[:-2]}",
        f"{user_id}.{until}",
        f"{user_id}.{until}.{signature}.",
        "x" * 5000,
        "\x00",
        "‮",
    ]
    for token in forged:
        page = visitor.get("/verify", query_string={"token": token}, follow_redirects=True)
        assert (page.status_code, ENDED in page.text) == (410, True), token
        assert visitor.post("/verify", token=visitor.token(), link=token).status_code == 410
    assert verified_at(app, cast.sam) is None


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
    assert "sam" not in token  # an address in a URL ends up in the logs of proxies
    first = visitor.get(f"/verify?token={token}")
    assert "HttpOnly" in first.headers["Set-Cookie"]
    page = visitor.get("/verify")
    assert page.headers["Referrer-Policy"] == "same-origin"  # and of a page whose address holds no token
    title = re.search("<title>(.*)</title>", page.text)
    assert title
    assert title[1] == "Verify your email address – Enrol"
    click(visitor, page)
    visitor.get(f"/verify?token={token}x")
    shown = "".join(capfd.readouterr())
    assert "/verify" in shown
    assert token not in shown
    assert token not in str([tuple(row) for row in rows(app, "SELECT * FROM audit_events")])


@pytest.mark.parametrize("settings", [{"SECRET_KEY_FALLBACKS": SECRET_KEY, "SECRET_KEY": "0123456789abcdef" * 4}])
def test_rotated_secret_key(app: Flask, database_url: str) -> None:
    old = create_app({**CHEAP, "DATABASE_URL": database_url, "TESTING": True})
    sam = make_user(app, "sam@example.com")
    token = issue(old, sam)
    dispose(old)
    visitor = Visitor(app.test_client())
    assert "sam@example.com" in opened(visitor, token).text
    assert "sam@example.com" in opened(visitor, issue(app, sam)).text


def test_link_of_an_administrator(app: Flask, cast: Cast, ada: Visitor) -> None:
    """It works signed in and signed out."""
    grace = make_user(app, "grace@example.com", Role.ADMIN)
    click(ada, opened(ada, issue(app, grace)))
    assert verified_at(app, grace)
    assert ada.is_in
