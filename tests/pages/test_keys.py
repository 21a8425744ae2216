"""The pages of API keys: list, create, revoke."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from support.databases import execute, rows
from support.page_forms import key_names_on, key_on
from support.people import Cast, make_key
from support.visitors import Visitor, mark_in, problems_in, signed_in
from users import clock
from users.errors import UserNotFound
from users.roles import Permission, Role
from users.services import api_keys
from users.storage.models import db

pytestmark = pytest.mark.one_database

FORM: dict[str, Any] = {
    "name": "CI",
    "scopes": ["users:create", "users:read"],
    "owner": "ada@example.com",
    "expires": "90",
}
NEW = "/admin/keys/new"


def test_create_key(app: Flask, ada: Visitor, cast: Cast) -> None:
    """The key is shown once, with a call that works."""
    answer = ada.post(NEW, **FORM)
    assert answer.status_code == 200
    key = key_on(answer.text)
    assert "Waiting for the first call" in answer.text
    assert "curl -X POST &#34;http://localhost/v1/user/&#34;" in answer.text
    assert f"X-API-Key: {key}" in answer.text
    body = {"email": "new.user@example.com", "password": "PASSWORD"}
    made = app.test_client().post("/v1/user/", json=body, headers={"X-API-Key": key})
    assert made.status_code == 201
    page = ada.get("/admin/keys").text
    assert key not in page
    assert f"<code>{key[:8]}…</code>" in page
    assert "ada@example.com" in page
    assert "Waiting for the first call" not in page
    ((owner, expires),) = rows(app, "SELECT owner_id, expires_at FROM api_keys")
    assert owner == cast.ada.id
    assert expires is not None


def test_a_form_sent_twice_makes_one_key(app: Flask, ada: Visitor) -> None:
    mark = mark_in(ada.get(NEW))
    key_on(ada.post(NEW, mark=mark, **FORM).text)
    again = ada.post(NEW, mark=mark, **FORM)
    assert again.status_code == 409
    assert "<h1>This API key was made a moment ago</h1>" in again.text
    ((key_id,),) = rows(app, "SELECT id FROM api_keys")
    assert f'href="/admin/keys/{key_id}/revoke"' in again.text
    assert 'href="/admin/keys"' in again.text
    assert len(rows(app, "SELECT 1 FROM audit_events WHERE action = 'key.create'")) == 1


def test_parallel_clicks(app: Flask, ada: Visitor) -> None:
    """Parallel requests of one form make one key."""
    mark, token, cookies = mark_in(ada.get(NEW)), ada.token("/account"), ada.session_id or ""
    form_cookie = ada.client.get_cookie("enrol-form")
    assert form_cookie

    def click(_: int) -> int:
        browser = Visitor(app.test_client())
        browser.session_id = cookies
        browser.client.set_cookie("enrol-form", form_cookie.value)
        return int(browser.post(NEW, token=token, mark=mark, **FORM).status_code)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(click, range(4))) == [200, 409, 409, 409]


def test_create_with_wrong_mark(app: Flask, ada: Visitor, cast: Cast) -> None:
    """A key is created only with the mark of a form of this session."""
    own = mark_in(ada.get(NEW))
    for mark in (
        "",
        "x",
        "akid_" + "0" * 32,
        "akid_" + "0" * 32 + own[37:],
        mark_in(signed_in(app, cast.ada).get(NEW)),
    ):
        answer = ada.post(NEW, mark=mark, **FORM)
        assert answer.status_code == 422
        assert "This page was open for too long" in answer.text
        assert 'value="CI"' in answer.text
    assert rows(app, "SELECT 1 FROM api_keys") == []
    assert ada.post(NEW, mark=mark_in(answer), **FORM).status_code == 200


def test_other_first_calls(ada: Visitor) -> None:
    """The first call fits the scopes of the key."""
    page = ada.post(NEW, **{**FORM, "scopes": ["users:read"]}).text
    assert "/v1/user/me" in page
    assert "-X POST" not in page


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"name": ""}, ("name", "Enter a name")),
        ({"name": "a\nb"}, ("name", "Name must not contain line breaks or control characters")),
        ({"scopes": []}, ("scopes", "Choose what the key may do")),
        ({"scopes": ["users:rule"]}, ("scopes", "Choose what the key may do")),
        ({"owner": ""}, ("owner", "Enter the email address of the key’s owner")),
        ({"owner": "nobody@example.com"}, ("owner", "No user has this email address")),
        ({"owner": "nobody"}, ("owner", "No user has this email address")),
        ({"owner": "sam@example.com"}, ("owner", "This user is deactivated, so the key could do nothing")),
        ({"expires": "1"}, ("expires", "Choose when the key expires")),
        ({"expires": ""}, ("expires", "Choose when the key expires")),
    ],
)
def test_field_problems(
    app: Flask, ada: Visitor, cast: Cast, changed: dict[str, Any], problem: tuple[str, str]
) -> None:
    """A problem is shown beside its field."""
    execute(app, "UPDATE users SET is_active = false WHERE id = :id", id=cast.sam.id)
    answer = ada.post(NEW, **{**FORM, **changed})
    assert answer.status_code == 422
    assert problems_in(answer) == [problem]
    assert rows(app, "SELECT 1 FROM api_keys") == []
    assert f'id="{problem[0]}"' in answer.text


@pytest.mark.parametrize(
    "statement", ["DELETE FROM users WHERE id = :id", "UPDATE users SET deleted_at = :at WHERE id = :id"]
)
def test_owner_deleted_meanwhile(
    app: Flask, ada: Visitor, cast: Cast, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    """An owner who is deleted during the request is a problem of the form."""
    create_key = api_keys.create_key

    def erase_first(*given: Any, **more: Any) -> api_keys.IssuedKey:
        execute(app, statement, **({"at": clock.now()} if ":at" in statement else {}), id=cast.sam.id)
        return create_key(*given, **more)

    monkeypatch.setattr(api_keys, "create_key", erase_first)
    answer = ada.post(NEW, **{**FORM, "owner": "sam@example.com"})
    assert answer.status_code == 422
    assert problems_in(answer) == [("owner", "No user has this email address")]
    assert rows(app, "SELECT 1 FROM api_keys") == []


def test_owner_being_erased(app: Flask, cast: Cast) -> None:
    """A user who is being erased gets no key."""

    def make() -> None:
        make_key(app, Permission.USERS_READ, owner=cast.sam)

    with ThreadPoolExecutor(1) as pool:
        with app.app_context(), db.engine.begin() as erasing:
            erasing.execute(text("DELETE FROM users WHERE id = :id"), {"id": cast.sam.id})
            made = pool.submit(make)
            with pytest.raises(TimeoutError):
                made.result(0.3)  # it waits for the outcome
        with pytest.raises(UserNotFound):
            made.result()
    assert rows(app, "SELECT 1 FROM api_keys") == []


def test_everything_wrong_is_said_at_once(ada: Visitor) -> None:
    answer = ada.post(NEW, name="", owner="nobody@example.com", expires="1")
    assert [name for name, _ in problems_in(answer)] == ["name", "scopes", "owner", "expires"]


def test_a_key_may_never_expire(app: Flask, ada: Visitor) -> None:
    assert ada.post(NEW, **{**FORM, "expires": "never"}).status_code == 200
    assert rows(app, "SELECT expires_at FROM api_keys")[0][0] is None


def test_list_of_keys(app: Flask, ada: Visitor, cast: Cast) -> None:
    """The list is newest first and shows the state of each key."""
    empty = ada.get("/admin/keys").text
    assert "No API keys yet" in empty
    assert empty.count(f'href="{NEW}"') == 1
    for name in ("oldest", "expired", "newest"):
        make_key(app, Permission.USERS_READ, owner=cast.ada, name=name)
    make_key(app, Permission.USERS_READ, name="service")
    execute(app, "UPDATE api_keys SET expires_at = created_at WHERE name = 'expired'")
    page = ada.get("/admin/keys").text
    assert key_names_on(page) == ["service", "newest", "oldest"]
    assert re.findall(r'<span class="tag[^"]*">(\w+)<', page) == ["Active"] * 3
    assert "Service key" in page
    page = ada.get("/admin/keys?state=ended").text
    assert key_names_on(page) == ["expired"]
    assert re.findall(r'<span class="tag[^"]*">(\w+)<', page) == ["Expired"]


def test_revoke(app: Flask, ada: Visitor) -> None:
    """The page asks first, and the key stops at once."""
    key = key_on(ada.post(NEW, **FORM).text)
    ((key_id,),) = rows(app, "SELECT id FROM api_keys")
    assert "is refused at once" in ada.get(f"/admin/keys/{key_id}/revoke").text
    assert app.test_client().get("/v1/user/me", headers={"X-API-Key": key}).status_code == 200
    answer = ada.post(f"/admin/keys/{key_id}/revoke")
    notice = ada.get(answer.location).text.partition('<div class="notice')[2].partition("</div>")[0]
    assert "API key revoked" in notice
    assert (
        f'<a href="/admin/keys/{key_id}"><bdi dir="auto">CI</bdi></a> (<code>{key[:8]}…</code>) never works' in notice
    )
    assert app.test_client().get("/v1/user/me", headers={"X-API-Key": key}).status_code == 401


def test_erased_after_revoke(app: Flask, ada: Visitor) -> None:
    """The list is shown though the revoked key was erased since."""
    ada.post(NEW, **FORM)
    ((key_id,),) = rows(app, "SELECT id FROM api_keys")
    there = ada.post(f"/admin/keys/{key_id}/revoke").location
    execute(app, "DELETE FROM api_keys")
    page = ada.get(there)
    assert page.status_code == 200
    assert "API key revoked" not in page.text


def test_revoked_already(app: Flask, ada: Visitor, cast: Cast) -> None:
    """The page of a revoked key says so and asks nothing."""
    make_key(app, Permission.USERS_READ, owner=cast.ada)
    ((key_id,),) = rows(app, "SELECT id FROM api_keys")
    ada.post(f"/admin/keys/{key_id}/revoke")
    page = ada.get(f"/admin/keys/{key_id}/revoke").text
    assert "<h1>This API key is revoked already</h1>" in page
    assert "Revoke key" not in page


def test_idle_scopes(app: Flask, ada: Visitor) -> None:
    """The page names the scopes that the owner does not hold."""
    page = ada.post(NEW, **{**FORM, "owner": "omar@example.com", "scopes": ["users:read", "keys:manage"]}).text
    words = " ".join(re.sub(r"<[^>]+>", "", page).split())
    assert "Note: omar@example.com does not hold keys:manage now, nor does the key." in words
    page = ada.post(NEW, **{**FORM, "owner": "vera@example.com"}).text
    assert "-X POST" not in page  # it may not create users, whatever its scopes say
    assert "/v1/user/me" in page
    assert "does not hold" not in ada.post(NEW, **FORM).text


def test_owner_deactivated(app: Flask, ada: Visitor, cast: Cast) -> None:
    """The key of a deactivated owner is shown as stopped."""
    make_key(app, Permission.USERS_READ, owner=cast.omar)
    execute(app, "UPDATE users SET is_active = false WHERE id = :id", id=cast.omar.id)
    page = ada.get("/admin/keys").text
    assert re.findall(r'<span class="tag[^"]*">(\w+)<', page) == ["Stopped"]
    assert "No longer active" in page
    assert "Waiting for the first call" not in page


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.AUDITOR])
def test_needs_permission(app: Flask, cast: Cast, role: Role) -> None:
    """The pages need the permission to manage keys."""
    browser = signed_in(app, cast.omar if role == Role.OPERATOR else cast.vera)
    assert browser.get("/admin/keys").status_code == 403
    assert browser.post(NEW, **FORM).status_code == 403
    assert "/admin/keys" not in browser.get("/admin/users").text


def test_base_url_in_call(app: Flask, ada: Visitor, cast: Cast) -> None:
    """The call shown uses the known base URL, or a placeholder."""
    page = ada.post(NEW, **FORM).text
    assert "http://localhost/v1/user/" in page
    client = app.test_client()
    client.set_cookie("enrol", ada.session_id or "", domain="evil.example")
    page = client.get("/admin/start", base_url="http://evil.example").text
    assert "evil.example" not in page
    assert "https://your-enrol/v1/user/" in page
    assert "ENROL_PUBLIC_URL" in page
