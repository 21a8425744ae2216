"""The pages that change one user: verify, deactivate, reactivate, delete, restore."""

import html
import re
from typing import Any

import pytest
from flask import Flask

from support.databases import execute, rows
from support.factors import grow_old
from support.list_pages import emails_on
from support.page_forms import acts_on, fields_of, user_row
from support.people import PASSWORD, UNKNOWN_ID, Cast, make_key, make_user
from support.visitors import (
    Visitor,
    can_sign_in,
    mark_in,
    summary_in,
)
from users.actors import terminal
from users.roles import Permission, Role
from users.services import user_changes
from users.services.links import email_verification

pytestmark = pytest.mark.one_database

TERMINAL = terminal("req_test00000000")


def test_an_address_is_marked_as_verified(app: Flask, ada: Visitor, cast: Cast) -> None:
    assert "Nobody has shown yet" in ada.get(f"/admin/users/{cast.omar.id}/verify").text
    answer = ada.post(f"/admin/users/{cast.omar.id}/verify")
    assert answer.status_code == 303
    page = ada.get(answer.location).text
    assert "Email address marked as verified" in page
    assert "Not yet" not in page
    assert "was verified on" in ada.get(f"/admin/users/{cast.omar.id}/verify").text
    assert acts_on(app, cast.omar.id) == ["user.verify"]


def test_verify_changed_email(app: Flask, ada: Visitor, cast: Cast) -> None:
    """An email that the form did not show is not marked as verified."""
    mark = mark_in(ada.get(f"/admin/users/{cast.omar.id}/verify"))
    execute(app, "UPDATE users SET email = 'o@example.com' WHERE id = :id", id=cast.omar.id)
    answer = ada.post(f"/admin/users/{cast.omar.id}/verify", mark=mark)
    assert answer.status_code == 422
    assert "The email address has changed since the page was opened" in summary_in(answer)
    assert rows(app, "SELECT 1 FROM users WHERE last_verified IS NOT NULL") == []


def test_verification_link(app: Flask, ada: Visitor, cast: Cast, visitor: Visitor) -> None:
    """The link is shown once and works."""
    answer = ada.post(f"/admin/users/{cast.omar.id}/verification")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    (link,) = re.findall(r'<code id="link-shown"[^>]*>http://localhost(/verify\?token=[^<]+)</code>', answer.text)
    assert 'data-copy="link-shown"' in answer.text
    assert "and works until <time datetime=" in " ".join(answer.text.split())
    assert visitor.get(html.unescape(link)).location == "/verify"
    assert "omar@example.com" in visitor.get("/verify").text
    token = link.partition("token=")[2]
    assert token not in ada.get(f"/admin/users/{cast.omar.id}").text
    assert acts_on(app, cast.omar.id) == ["verification.create"]


def test_verification_link_email(app: Flask, ada: Visitor, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page shows the email that the link verifies."""
    issue = email_verification.issue

    def change_first(*given: Any, **more: Any) -> email_verification.IssuedLink:
        execute(app, "UPDATE users SET email = 'o@example.com' WHERE id = :id", id=cast.omar.id)
        return issue(*given, **more)

    monkeypatch.setattr(email_verification, "issue", change_first)
    page = ada.post(f"/admin/users/{cast.omar.id}/verification").text
    assert 'Send this link to <bdi dir="auto">o@example.com</bdi>' in page
    assert "omar@example.com" not in page


def test_verification_link_without_base_url(app: Flask, ada: Visitor, cast: Cast) -> None:
    """No link is made while the base URL is unknown."""
    path, elsewhere = f"/admin/users/{cast.omar.id}/verify", {"base_url": "http://evil.example"}
    ada.client.set_cookie("enrol", ada.session_id or "", domain="evil.example")
    page = ada.client.get(path, **elsewhere)
    assert "ENROL_PUBLIC_URL" in page.text
    assert "/verification" not in page.text
    (token,) = set(re.findall(r'name="csrf_token" value="([^"]+)"', page.text))
    path = f"/admin/users/{cast.omar.id}/verification"
    answer = ada.client.post(path, data={"csrf_token": token}, **elsewhere)
    assert answer.status_code == 400
    assert "No link can be made" in summary_in(answer)
    assert acts_on(app, cast.omar.id) == []


def test_wider_user(app: Flask, omar: Visitor, cast: Cast) -> None:
    """A user with more permissions than the administrator cannot be changed."""
    page = omar.get(f"/admin/users/{cast.ada.id}").text
    assert "This user’s role can do more than yours" in page
    assert "/deactivate" not in page
    assert omar.post(f"/admin/users/{cast.ada.id}/deactivate").status_code == 403
    assert omar.post(f"/admin/users/{cast.ada.id}/password", choice="generate").status_code == 403
    assert can_sign_in(app, "ada@example.com", PASSWORD)


def test_deactivate(app: Flask, ada: Visitor, cast: Cast) -> None:
    """The page asks first and says the effect."""
    page = ada.get(f"/admin/users/{cast.omar.id}/deactivate").text
    assert "can no longer sign in, and their sessions and API keys stop at once" in page
    answer = ada.post(f"/admin/users/{cast.omar.id}/deactivate")
    page = ada.get(answer.location).text
    assert "User deactivated" in page
    assert "/deactivate" not in page
    assert "This user is deactivated already" in ada.get(f"/admin/users/{cast.omar.id}/deactivate").text
    assert not can_sign_in(app, "omar@example.com", PASSWORD)


def test_the_last_administrator_stays(app: Flask, ada: Visitor, cast: Cast) -> None:
    answer = ada.post(f"/admin/users/{cast.ada.id}/deactivate")
    assert answer.status_code == 409
    assert "This is the last active administrator" in summary_in(answer)
    assert ada.is_in


def test_deactivate_yourself(app: Flask, ada: Visitor, cast: Cast) -> None:
    """Who deactivates themselves is signed out."""
    make_user(app, "olga@example.com", Role.ADMIN)
    answer = ada.post(f"/admin/users/{cast.ada.id}/deactivate")
    assert answer.location == "/admin/login"
    assert ada.session_id is None
    assert "You are signed out" in ada.get(answer.location).text


def test_reactivate(app: Flask, ada: Visitor, cast: Cast) -> None:
    """The page asks first, and the keys work again."""
    key = make_key(app, Permission.USERS_READ, owner=cast.omar)
    path = f"/admin/users/{cast.omar.id}/reactivate"
    assert "This user is active already" in ada.get(path).text
    ada.post(f"/admin/users/{cast.omar.id}/deactivate")
    assert app.test_client().get("/v1/user/me", headers={"X-API-Key": key}).status_code == 401
    assert path in ada.get(f"/admin/users/{cast.omar.id}").text
    assert "can sign in again with the password they had" in ada.get(path).text
    answer = ada.post(path)
    assert "User reactivated" in ada.get(answer.location).text
    assert app.test_client().get("/v1/user/me", headers={"X-API-Key": key}).status_code == 200
    assert can_sign_in(app, "omar@example.com", PASSWORD)


def test_delete(app: Flask, ada: Visitor, cast: Cast) -> None:
    """The page asks first, and the email is free again."""
    page = ada.get(f"/admin/users/{cast.omar.id}/delete").text
    assert "and a new user can have the address. Until then this user can be restored, but not" in page
    answer = ada.post(f"/admin/users/{cast.omar.id}/delete")
    assert (answer.status_code, answer.location) == (303, "/admin/users")
    page = ada.get(answer.location)
    assert re.search(
        r'<div class="notice good" role="status" tabindex="-1" autofocus>\s*<p class="lead">User deleted<', page.text
    )
    assert "omar@example.com" not in emails_on(page)
    assert not can_sign_in(app, "omar@example.com", PASSWORD)
    assert ada.create(email="omar@example.com").status_code == 303


def test_delete_yourself(app: Flask, ada: Visitor, cast: Cast) -> None:
    """Who deletes themselves is signed out."""
    path = f"/admin/users/{cast.ada.id}/delete"
    assert "This is you" in ada.get(path).text
    answer = ada.post(path)
    assert answer.status_code == 409
    assert "This is the last active administrator" in summary_in(answer)
    make_user(app, "grace@example.com", Role.ADMIN)
    assert ada.post(path).location == "/admin/login"
    assert not ada.is_in


def test_restore(app: Flask, ada: Visitor, cast: Cast) -> None:
    """The page asks first; the user comes back deactivated."""
    user = f"/admin/users/{cast.omar.id}"
    assert "<h1>This user is not deleted</h1>" in ada.get(f"{user}/restore").text
    ada.post(f"{user}/delete")
    page = ada.get(user).text
    assert f'href="{user}/restore"' in page
    effect = "comes back deactivated, with their password and their role, but without sessions, API keys, links and"
    assert effect in ada.get(f"{user}/restore").text
    answer = ada.post(f"{user}/restore")
    assert (answer.status_code, answer.location) == (303, user)
    page = ada.get(user).text
    assert "User restored, and deactivated until you reactivate them" in page
    assert f'href="{user}/reactivate"' in page
    assert ada.post(f"{user}/restore").location == user  # the form sent twice
    assert "User restored, and deactivated" in ada.get(user).text
    assert acts_on(app, cast.omar.id) == ["user.delete", "user.restore"]
    ada.post(f"{user}/reactivate")
    ada.get(user)
    ada.post(f"{user}/restore")
    page = ada.get(user).text
    assert "Nothing to restore: this user is active" in page
    assert "User restored" not in page


def test_restore_of_a_taken_email(app: Flask, ada: Visitor, cast: Cast) -> None:
    """The pages say who has the email by now, also if it was taken while the question was open."""
    user = f"/admin/users/{cast.sam.id}"
    ada.post(f"{user}/delete")
    token = ada.token(f"{user}/restore")
    holder = make_user(app, "SAM@example.com")
    answer = ada.client.post(f"{user}/restore", data={"csrf_token": token})
    assert answer.status_code == 422
    assert "A user with this email address already exists: View SAM@example.com" in summary_in(answer)
    assert 'href="#email"' not in answer.text
    page = ada.get(f"{user}/restore").text
    assert "<h1>This user cannot be restored now</h1>" in page
    assert f'href="/admin/users/{holder.id}">See that user</a>' in page
    assert f'action="{user}/restore"' not in page
    page = ada.get(user).text
    assert (
        f'<a href="/admin/users/{holder.id}">Another user</a> has the address now, so this one cannot be restored.'
        in page
    )
    assert f'href="{user}/restore"' not in page
    assert acts_on(app, cast.sam.id) == ["user.delete"]


def test_who_is_offered_a_restore(app: Flask, ada: Visitor, omar: Visitor, cast: Cast) -> None:
    """An operator is not; an administrator is asked for a proof before the question if the role gives something."""
    vera, sam = f"/admin/users/{cast.vera.id}", f"/admin/users/{cast.sam.id}"
    for user in (vera, sam):
        ada.post(f"{user}/delete")
        assert f"{user}/restore" not in omar.get(user).text
        assert omar.get(f"{user}/restore").status_code == omar.post(f"{user}/restore").status_code == 403
    grow_old(app, cast.ada)
    assert "/account/confirm?next=" in ada.get(f"{vera}/restore").location
    assert "<h1>Restore this user?</h1>" in ada.get(f"{sam}/restore").text
    assert ada.get(f"/admin/users/{UNKNOWN_ID}/restore").status_code == 404


ACTS = ("verification", "password-link/end")  # without a page of their own
PAGES = ("edit", "password", "verify", "deactivate", "reactivate", "delete")


@pytest.mark.parametrize("act", [*PAGES, *ACTS])
def test_deleted_meanwhile(app: Flask, ada: Visitor, cast: Cast, act: str) -> None:
    """The page says that the user was deleted."""
    path = f"/admin/users/{cast.omar.id}/{act}"
    fields = fields_of(ada.get(path)) if act in PAGES else {}
    with app.app_context():
        user_changes.delete_user(cast.omar.id, actor=TERMINAL)
    answers = [ada.post(path, **{"mark": "", **fields, "first_name": "Other", "choice": "generate"})]
    answers += [ada.get(path)] if act in PAGES else []
    for answer in answers:
        assert answer.status_code == 404
        assert "<h1>This user has been deleted</h1>" in answer.text
        assert f'href="/admin/users/{cast.omar.id}"' in answer.text
    assert acts_on(app, cast.omar.id) == ["user.delete"]


@pytest.mark.parametrize("act", PAGES)
def test_only_what_may_be_done_is_offered(app: Flask, ada: Visitor, omar: Visitor, cast: Cast, act: str) -> None:
    execute(app, "UPDATE users SET is_active = false WHERE id = :id", id=cast.sam.id)
    target = cast.sam if act == "reactivate" else cast.omar
    link = f'href="/admin/users/{target.id}/{act}"'
    assert link in ada.get(f"/admin/users/{target.id}").text
    other = cast.sam if act == "reactivate" else make_user(app, "jo@example.com")
    seen = omar.get(f"/admin/users/{other.id}").text
    assert (f'href="/admin/users/{other.id}/{act}"' in seen) == (act != "delete")
    assert omar.get(f"/admin/users/{other.id}/{act}").status_code == (403 if act == "delete" else 200)


@pytest.mark.parametrize("act", [*PAGES, *ACTS])
def test_operator_and_administrator(app: Flask, omar: Visitor, cast: Cast, act: str) -> None:
    """An operator cannot change an administrator."""
    path = f"/admin/users/{cast.ada.id}/{act}"
    if act in PAGES:
        assert omar.get(path).status_code == 403
    seen = {"email": "e@example.com", "was-email": "ada@example.com"}
    assert omar.post(path, **{"mark": "", **seen, "choice": "generate"}).status_code == 403
    assert f'{act}"' not in omar.get(f"/admin/users/{cast.ada.id}").text.partition("<main")[2]
    assert set(acts_on(app, cast.ada.id)) == {"request.refuse"}
    assert user_row(app, cast.ada.id) == ("ada@example.com", "Ada", "Lovelace", "role_admin")
