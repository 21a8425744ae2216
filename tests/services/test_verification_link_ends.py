"""What ends a verification link: a change of the email, a day, a new secret key that forgets the old one."""

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from itsdangerous import Signer

from app import create_app
from support.application import CHEAP, SECRET_KEY, dispose
from support.databases import rows
from support.people import Cast, make_user
from support.verification_links import ENDED, TERMINAL, click, issue, opened, verified_at
from support.visitors import Visitor
from users import clock
from users.rules import validation
from users.services import user_changes
from users.services.links import email_verification
from users.storage.models import User

pytestmark = pytest.mark.one_database


def test_newer_link(app: Flask, cast: Cast, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    click(visitor, opened(visitor, issue(app, cast.sam)))
    later = clock.now() + timedelta(days=400)
    monkeypatch.setattr(clock, "now", lambda: later)
    page = opened(visitor, issue(app, cast.sam))
    click(visitor, page)
    assert verified_at(app, cast.sam) == later


def void_by_email(app: Flask, user: User) -> None:
    """Change the email of the user."""
    _change(app, user, "other@example.com")


def void_by_spelling(app: Flask, user: User) -> None:
    """Write the user's email in another spelling."""
    _change(app, user, "SAM@example.com")


def void_by_deletion(app: Flask, user: User) -> None:
    """Delete the user and give the email to another user."""
    with app.app_context():
        user_changes.delete_user(user.id, actor=TERMINAL)
    make_user(app, user.email)


def _change(app: Flask, user: User, email: str) -> None:
    changes = validation.user_changes({"email": email}, validation.Rules())
    with app.app_context():
        user_changes.update_user(user.id, changes, actor=TERMINAL)


def void_by_return(app: Flask, user: User) -> None:
    """Change the email and change it back."""
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


@pytest.mark.parametrize("settings", [{"SECRET_KEY_FALLBACKS": SECRET_KEY, "SECRET_KEY": "0123456789abcdef" * 4}])
def test_rotated_secret_key(app: Flask, database_url: str) -> None:
    old = create_app({**CHEAP, "DATABASE_URL": database_url, "TESTING": True})
    sam = make_user(app, "sam@example.com")
    token = issue(old, sam)
    dispose(old)
    visitor = Visitor(app.test_client())
    assert "sam@example.com" in opened(visitor, token).text
    assert "sam@example.com" in opened(visitor, issue(app, sam)).text
