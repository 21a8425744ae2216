"""Sign-in and sign-out: one answer for every cause, the same work for every email, a way back only on this site."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask

from support.api import Answer, Api
from support.databases import execute, rows
from support.people import PASSWORD, Cast, make_key, make_user
from support.visitors import LOGIN, Visitor, form_session_of, problems_in, token_in
from users.passwords import argon2id
from users.passwords.hashing import PasswordPlace
from users.roles import Permission, Role

pytestmark = pytest.mark.one_database

WRONG = [("email", "The email address or password is wrong")]


@pytest.mark.parametrize(
    ("person", "home"),
    [("ada", "/admin"), ("omar", "/admin"), ("vera", "/admin"), ("sam", "/account")],
)
def test_everybody_signs_in(cast: Cast, visitor: Visitor, person: str, home: str) -> None:
    answer = visitor.sign_in(f" {person}@EXAMPLE.com ")
    assert (answer.status_code, answer.location) == (303, home)
    assert visitor.get(answer.location).status_code == 200


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("ada@example.com", "wrong horse battery"),
        ("nobody@example.com", PASSWORD),
        ("no address", PASSWORD),
        ("", ""),
        ("ada@example.com", ""),
        ("invited@example.com", PASSWORD),
        ("invited@example.com", ""),
        ("gone@example.com", PASSWORD),
        ("ada@example.com\0", PASSWORD),
    ],
    ids=["wrong password", "unknown", "no address", "nothing", "no password", "none yet", "none", "deactivated", "nul"],
)
def test_one_message(app: Flask, cast: Cast, visitor: Visitor, email: str, password: str) -> None:
    make_user(app, "gone@example.com", Role.ADMIN)
    execute(app, "UPDATE users SET is_active = false WHERE email = 'gone@example.com'")
    make_user(app, "invited@example.com")
    execute(app, "UPDATE users SET password_hash = '' WHERE email = 'invited@example.com'")
    answer = visitor.sign_in(email, password)
    assert answer.status_code == 422
    assert problems_in(answer) == WRONG
    assert visitor.session_id is None
    assert PASSWORD not in answer.text
    (row,) = rows(app, "SELECT outcome, actor_user_id FROM audit_events WHERE action = 'session.create'")
    assert tuple(row) == ("refused", None)


@pytest.mark.parametrize(
    "old", ["correct\thorse", "correct horse\n", "\ufeffcorrect horse", "correct\x07horse\r\nbattery"]
)
def test_password_of_an_older_version(app: Flask, cast: Cast, visitor: Visitor, old: str) -> None:
    """Where a password is only checked, it may hold what a new one may not."""
    execute(app, "UPDATE users SET password_hash = :hash WHERE id = :id", hash=hash_of(old), id=cast.ada.id)
    assert visitor.sign_in("ada@example.com", old).status_code == 303
    verifier = Api(app.test_client(), make_key(app, *Permission))
    body = {"email": "ada@example.com", "password": old}
    assert verifier.call("POST", "/v1/user/verify-password", json=body).json["valid"] is True
    assert verifier.call("POST", "/v1/user/verify-password", json={**body, "password": f"\a{old}"}).status_code == 200
    assert visitor.post("/account", current_password=old, password=PASSWORD).status_code == 303


def hash_of(password: str) -> str:
    """Return the hash of a password, whatever is in it."""
    return PasswordHasher(memory_cost=8, time_cost=1, parallelism=1).hash(password)


@pytest.mark.parametrize("email", ["ada@example.com", "sam@example.com", "nobody@example.com", "no address"])
def test_one_hash(cast: Cast, visitor: Visitor, monkeypatch: pytest.MonkeyPatch, email: str) -> None:
    hashes: list[str] = []
    check = argon2id.is_hash_of

    def count(known: str, given: bytes) -> bool:
        hashes.append(known.rpartition("$")[0].rpartition("$")[0])
        return check(known, given)

    monkeypatch.setattr(argon2id, "is_hash_of", count)
    assert visitor.sign_in(email, "wrong horse battery").status_code == 422
    assert hashes == ["$argon2id$v=19$m=8,t=1,p=1"]


def test_no_password_is_not_told(app: Flask, cast: Cast) -> None:
    """A wrong password, a user without one and an unknown email: the same answers and events at both doors."""
    execute(app, "UPDATE users SET password_hash = '' WHERE id = :id", id=cast.sam.id)
    told = []
    for number, email in enumerate(("ada@example.com", "sam@example.com", "joe@example.com")):
        verifier = Api(app.test_client(), make_key(app, *Permission))
        ip_address = f"192.0.2.{number}"
        browser = Visitor(app.test_client())
        browser.client.environ_base["REMOTE_ADDR"] = ip_address
        body = {"email": email, "password": "wrong horse battery", "ip_address": ip_address}
        answers = [browser.sign_in(email, "wrong horse battery") for _ in range(11)]
        answers += [verifier.call("POST", "/v1/user/verify-password", json=body) for _ in range(11)]
        told.append([shown_by(answer, email) for answer in answers])
    assert told[0] == told[1] == told[2]
    assert [answer[0] for answer in told[0]] == [*[422] * 10, 429, *[200] * 10, 429]
    found = rows(app, "SELECT action, outcome, actor_kind, fields FROM audit_events WHERE outcome <> 'ok' ORDER BY id")
    assert len(found) == 3 * 22
    assert found[:22] == found[22:44] == found[44:]


def shown_by(answer: Answer, email: str) -> tuple[int, list[tuple[str, str]], str]:
    """Return the status, headers and body without the email and what differs in every answer."""
    own = r'name="csrf_token" value="[^"]+"|"(timestamp|trace_id)":\s*"[^"]+"|enrol-form=[^;]+'
    differ = ("X-Request-Id", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests")
    headers = [(name, re.sub(own, "OWN", value)) for name, value in answer.headers if name not in differ]
    return answer.status_code, headers, re.sub(own, "OWN", answer.text.replace(email, "EMAIL"))


def test_old_hash_is_replaced(app: Flask, cast: Cast, visitor: Visitor) -> None:
    old = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(PASSWORD)
    execute(app, "UPDATE users SET password_hash = :old WHERE id = :id", old=old, id=cast.ada.id)
    assert visitor.sign_in("ada@example.com").status_code == 303
    ((new,),) = rows(app, "SELECT password_hash FROM users WHERE id = :id", id=cast.ada.id)
    assert new.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert visitor.sign_in("ada@example.com").status_code == 303


def test_audit_rows(app: Flask, ada: Visitor, cast: Cast) -> None:
    assert ada.post("/admin/logout").location == "/admin/login"
    found = rows(
        app,
        "SELECT action, outcome, actor_kind, actor_user_id, target_id FROM audit_events"
        " WHERE action LIKE 'session%' ORDER BY id",
    )
    assert [tuple(row) for row in found] == [
        ("session.create", "ok", "session", cast.ada.id, cast.ada.id),
        ("session.end", "ok", "session", cast.ada.id, cast.ada.id),
    ]
    ((last_login,),) = rows(app, "SELECT last_login FROM users WHERE id = :id", id=cast.ada.id)
    assert last_login


@pytest.mark.parametrize("email", ["ada@example.com", "nobody@example.com"])
def test_audit_row_of_refusal(app: Flask, cast: Cast, visitor: Visitor, email: str) -> None:
    visitor.sign_in(email, "wrong horse battery")
    ((target_id,),) = rows(app, "SELECT target_id FROM audit_events WHERE outcome = 'refused'")
    assert target_id == (cast.ada.id if email == cast.ada.email else None)


CHANGES = [
    "password_hash = 'another', password_changed_at = created_at",
    "is_active = false",
    "deleted_at = created_at",
]


@pytest.fixture
def changed_meanwhile(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Changes of Ada's row while her password is verified."""
    verify = PasswordPlace.verify

    def arm(change: str) -> None:
        def verify_and_change(
            self: PasswordPlace, password_hash: str | None, password: str, make: str | None = None
        ) -> str:
            kept = verify(self, password_hash, password, make)
            execute(app, f"UPDATE users SET {change} WHERE id = :id", id=cast.ada.id)
            return kept

        monkeypatch.setattr(PasswordPlace, "verify", verify_and_change)

    return arm


@pytest.mark.parametrize("change", CHANGES)
def test_change_during_the_hash(
    cast: Cast, visitor: Visitor, changed_meanwhile: Callable[[str], None], change: str
) -> None:
    changed_meanwhile(change)
    answer = visitor.sign_in("ada@example.com")
    assert problems_in(answer) == WRONG
    assert visitor.session_id is None


def test_role_taken_during_the_hash(cast: Cast, visitor: Visitor, changed_meanwhile: Callable[[str], None]) -> None:
    """The sign-in leads where the role of this moment allows."""
    changed_meanwhile("global_role_id = NULL")
    assert visitor.sign_in("ada@example.com", next="/admin/users").location == "/account"


@pytest.mark.parametrize("change", CHANGES)
def test_change_of_password_during_the_hash(
    app: Flask, ada: Visitor, cast: Cast, changed_meanwhile: Callable[[str], None], change: str
) -> None:
    changed_meanwhile(change)
    answer = ada.post("/account", current_password=PASSWORD, password="another horse battery")
    if change.startswith("password"):
        assert problems_in(answer) == [("current_password", "The current password is wrong")]
    else:  # the session has ended with it
        assert (answer.status_code, "Your session has ended" in answer.text) == (403, True)
    assert rows(app, "SELECT 1 FROM audit_events WHERE action = 'user.set_password' AND outcome = 'ok'") == []


def test_sign_out(ada: Visitor) -> None:
    token = ada.token("/account")
    ada.post("/admin/logout")
    assert set(form_session_of(ada)) == {"_flashes"}  # "You are signed out"
    assert ada.post(LOGIN, token=token, email="ada@example.com", password=PASSWORD).status_code == 400


def test_copied_cookie(ada: Visitor, visitor: Visitor) -> None:
    copied = ada.session_id
    assert copied
    ada.post("/admin/logout")
    assert ada.session_id is None
    visitor.session_id = copied
    assert not visitor.is_in


def test_new_session_and_token(ada: Visitor, visitor: Visitor) -> None:
    session_id, token = ada.session_id, ada.token("/account")
    assert ada.sign_in("ada@example.com").status_code == 303
    assert ada.session_id != session_id
    assert ada.post("/account/sessions", token=token).status_code == 400
    visitor.session_id = session_id or ""
    assert not visitor.is_in


def test_replaced_session(app: Flask, ada: Visitor, cast: Cast) -> None:
    ada.sign_in("ada@example.com")
    ended = rows(app, "SELECT actor_user_id, target_id FROM audit_events WHERE action = 'session.end'")
    assert [tuple(row) for row in ended] == [(cast.ada.id, cast.ada.id)]


@pytest.mark.parametrize("path", ["/admin/keys", "/admin/users?x=1&y=%C3%A4", "/admin/users/new?email=a%40b.c"])
def test_way_back(cast: Cast, visitor: Visitor, path: str) -> None:
    asked = visitor.get(path)
    assert asked.status_code == 303
    assert asked.location.startswith("/admin/login?next=")
    page = visitor.get(asked.location)
    (there,) = [line.split('value="')[1].split('"')[0] for line in page.text.splitlines() if 'name="next"' in line]
    answer = visitor.sign_in("ada@example.com", next=there.replace("&amp;", "&"))
    assert answer.location == path


@pytest.mark.parametrize(
    "there",
    [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example",
        "http:evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/\n/evil.example",
        " //evil.example",
        "evil",
        "",
    ],
)
def test_no_way_back_to_other_sites(cast: Cast, visitor: Visitor, there: str) -> None:
    assert visitor.sign_in("ada@example.com", next=there).location == "/admin"
    assert visitor.get(LOGIN, query_string={"next": there}).location == "/admin"


@pytest.mark.parametrize("kept", [{}, {"kept-email": "jo@example.com"}])
def test_way_back_of_a_member(cast: Cast, visitor: Visitor, kept: dict[str, str]) -> None:
    """A page for administrators would refuse them, so the sign-in leads to their account."""
    for there in ("/admin/users", "/admin/users/new", "/admin/keys/new", "/nothing") if kept else ("/admin/users?q=x",):
        assert visitor.sign_in("sam@example.com", next=there, **kept).location == "/account"
    assert visitor.get(LOGIN, query_string={"next": "/admin/audit"}).location == "/account"
    assert visitor.get("/admin/audit").status_code == 403


def test_signed_in_already(ada: Visitor) -> None:
    assert ada.get("/admin/login?next=/admin/keys").location == "/admin/keys"


def test_autocomplete(cast: Cast, visitor: Visitor) -> None:
    page = visitor.get(LOGIN).text
    assert 'autocomplete="username"' in page
    assert 'autocomplete="current-password"' in page


@pytest.mark.parametrize("settings", [{"ENROL_PUBLIC_URL": "https://users.example.com"}])
def test_cookie_prefix_over_https(app: Flask, cast: Cast) -> None:
    client = app.test_client()
    page = client.get(LOGIN, base_url="https://users.example.com")
    answer = client.post(
        LOGIN,
        base_url="https://users.example.com",
        data={"email": "ada@example.com", "password": PASSWORD, "csrf_token": token_in(page)},
    )
    assert answer.status_code == 303
    cookies = answer.headers.getlist("Set-Cookie")
    names = {"__Host-enrol", "__Host-enrol-device", "__Host-enrol-form"}
    assert {cookie.split("=")[0] for cookie in cookies} == names
    for cookie in cookies:
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(cookie.split("; "))
        assert "Domain" not in cookie
    assert answer.headers["Strict-Transport-Security"]


def test_httponly_over_http(cast: Cast, visitor: Visitor) -> None:
    cookies = visitor.sign_in("ada@example.com").headers.getlist("Set-Cookie")
    assert {cookie.split("=")[0] for cookie in cookies} == {"enrol", "enrol-device", "enrol-form"}
    (device,) = [cookie for cookie in cookies if cookie.startswith("enrol-device=")]
    assert f"Max-Age={180 * 24 * 3600}" in device
    for cookie in cookies:
        assert {"HttpOnly", "Path=/", "SameSite=Lax"} <= set(cookie.split("; "))


def test_sessions_and_keys_apart(app: Flask, ada: Visitor, visitor: Visitor, api: Any) -> None:
    """The API ignores sessions, and the pages ignore API keys."""
    assert ada.get("/v1/user/me").status_code == 401
    assert ada.client.post("/v1/user/", json={}).status_code == 401
    assert visitor.get("/admin/users", headers={"X-API-Key": api.key}).status_code == 303
