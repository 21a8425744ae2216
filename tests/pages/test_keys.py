"""The pages about API keys: made for an owner, shown once with a call to make, rolled, revoked for good."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from support.api import Answer
from support.databases import execute, rows
from support.people import Cast, make_key, make_user
from support.visitors import Visitor, mark_in, problems_in, seen_end_in, signed_in, summary_in
from users import clock, ids, roles
from users.actors import terminal
from users.errors import UserNotFound
from users.form_errors import KeyEnded, KeyMadeAlready
from users.roles import Permission, Role
from users.services import api_keys
from users.storage.models import db

FORM: dict[str, Any] = {
    "name": "CI",
    "scopes": ["users:create", "users:read"],
    "owner": "ada@example.com",
    "expires": "90",
}
NEW = "/admin/keys/new"


def key_on(page: str) -> str:
    """Return the key that a page shows."""
    (key,) = re.findall(r'<code id="key-shown"[^>]*>(ak_[0-9A-Za-z]{40})</code>', page)
    return str(key)


def test_a_key_is_shown_once_with_a_call_that_works(app: Flask, ada: Visitor, cast: Cast) -> None:
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


def test_clicks_at_the_same_time_make_one_key(app: Flask, ada: Visitor) -> None:
    mark, token, cookies = mark_in(ada.get(NEW)), ada.token("/admin/account"), ada.session_id or ""
    form_cookie = ada.client.get_cookie("enrol-form")
    assert form_cookie

    def click(_: int) -> int:
        browser = Visitor(app.test_client())
        browser.session_id = cookies
        browser.client.set_cookie("enrol-form", form_cookie.value)
        return int(browser.post(NEW, token=token, mark=mark, **FORM).status_code)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(click, range(4))) == [200, 409, 409, 409]


def test_a_key_is_made_only_from_a_form_of_this_session(app: Flask, ada: Visitor, cast: Cast) -> None:
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


def test_a_key_that_creates_nobody_is_shown_with_another_call(ada: Visitor) -> None:
    page = ada.post(NEW, **{**FORM, "scopes": ["users:read"]}).text
    assert "/v1/user/me" in page
    assert "-X POST" not in page


@pytest.mark.one_database
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
def test_what_is_wrong_is_said_beside_its_field(
    app: Flask, ada: Visitor, cast: Cast, changed: dict[str, Any], problem: tuple[str, str]
) -> None:
    execute(app, "UPDATE users SET is_active = false WHERE id = :id", id=cast.sam.id)
    answer = ada.post(NEW, **{**FORM, **changed})
    assert answer.status_code == 422
    assert problems_in(answer) == [problem]
    assert rows(app, "SELECT 1 FROM api_keys") == []
    assert f'id="{problem[0]}"' in answer.text


@pytest.mark.parametrize(
    "statement", ["DELETE FROM users WHERE id = :id", "UPDATE users SET deleted_at = :at WHERE id = :id"]
)
def test_an_owner_who_goes_while_a_key_is_made_is_said(
    app: Flask, ada: Visitor, cast: Cast, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    create_key = api_keys.create_key

    def erase_first(*given: Any, **more: Any) -> api_keys.IssuedKey:
        execute(app, statement, **({"at": clock.now()} if ":at" in statement else {}), id=cast.sam.id)
        return create_key(*given, **more)

    monkeypatch.setattr(api_keys, "create_key", erase_first)
    answer = ada.post(NEW, **{**FORM, "owner": "sam@example.com"})
    assert answer.status_code == 422
    assert problems_in(answer) == [("owner", "No user has this email address")]
    assert rows(app, "SELECT 1 FROM api_keys") == []


def test_an_owner_who_is_being_erased_gets_no_key(app: Flask, cast: Cast) -> None:
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


def test_the_list_is_newest_first_and_says_each_state(app: Flask, ada: Visitor, cast: Cast) -> None:
    empty = ada.get("/admin/keys").text
    assert "No API keys yet" in empty
    assert empty.count(f'href="{NEW}"') == 1
    for name in ("oldest", "expired", "newest"):
        make_key(app, Permission.USERS_READ, owner=cast.ada, name=name)
    make_key(app, Permission.USERS_READ, name="service")
    execute(app, "UPDATE api_keys SET expires_at = created_at WHERE name = 'expired'")
    page = ada.get("/admin/keys").text
    assert re.findall(r'<th scope="row"><bdi dir="auto">(\w+)<', page) == ["service", "newest", "expired", "oldest"]
    assert re.findall(r'<span class="tag[^"]*">(\w+)<', page) == ["Active", "Active", "Expired", "Active"]
    assert "Service key" in page


def test_revoking_asks_first_and_holds_at_once(app: Flask, ada: Visitor) -> None:
    key = key_on(ada.post(NEW, **FORM).text)
    ((key_id,),) = rows(app, "SELECT id FROM api_keys")
    assert "is refused at once" in ada.get(f"/admin/keys/{key_id}/revoke").text
    assert app.test_client().get("/v1/user/me", headers={"X-API-Key": key}).status_code == 200
    answer = ada.post(f"/admin/keys/{key_id}/revoke")
    notice = ada.get(answer.location).text.partition('<div class="notice')[2].partition("</div>")[0]
    assert "API key revoked" in notice
    assert f'<bdi dir="auto">CI</bdi> (<code>{key[:8]}…</code>) never works again.' in notice
    assert app.test_client().get("/v1/user/me", headers={"X-API-Key": key}).status_code == 401


def test_a_link_to_a_key_that_was_erased_after_its_end_still_shows_the_list(app: Flask, ada: Visitor) -> None:
    ada.post(NEW, **FORM)
    ((key_id,),) = rows(app, "SELECT id FROM api_keys")
    there = ada.post(f"/admin/keys/{key_id}/revoke").location
    execute(app, "DELETE FROM api_keys")
    page = ada.get(there)
    assert page.status_code == 200
    assert "API key revoked" not in page.text


def test_a_key_that_is_revoked_already_is_not_asked_about(app: Flask, ada: Visitor, cast: Cast) -> None:
    make_key(app, Permission.USERS_READ, owner=cast.ada)
    ((key_id,),) = rows(app, "SELECT id FROM api_keys")
    ada.post(f"/admin/keys/{key_id}/revoke")
    page = ada.get(f"/admin/keys/{key_id}/revoke").text
    assert "<h1>This API key is revoked already</h1>" in page
    assert "Revoke key" not in page


def test_a_key_that_can_do_less_than_it_says_comes_with_a_word(app: Flask, ada: Visitor) -> None:
    page = ada.post(NEW, **{**FORM, "owner": "omar@example.com", "scopes": ["users:read", "keys:manage"]}).text
    words = " ".join(re.sub(r"<[^>]+>", "", page).split())
    assert "Note: omar@example.com does not hold keys:manage now, nor does the key." in words
    page = ada.post(NEW, **{**FORM, "owner": "vera@example.com"}).text
    assert "-X POST" not in page  # it may not create users, whatever its scopes say
    assert "/v1/user/me" in page
    assert "does not hold" not in ada.post(NEW, **FORM).text


def test_a_key_whose_owner_is_deactivated_has_stopped(app: Flask, ada: Visitor, cast: Cast) -> None:
    make_key(app, Permission.USERS_READ, owner=cast.omar)
    execute(app, "UPDATE users SET is_active = false WHERE id = :id", id=cast.omar.id)
    page = ada.get("/admin/keys").text
    assert re.findall(r'<span class="tag[^"]*">(\w+)<', page) == ["Stopped"]
    assert "No longer active" in page
    assert "Waiting for the first call" not in page


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.AUDITOR])
def test_keys_are_for_those_who_manage_them(app: Flask, cast: Cast, role: Role) -> None:
    browser = signed_in(app, cast.omar if role == Role.OPERATOR else cast.vera)
    assert browser.get("/admin/keys").status_code == 403
    assert browser.post(NEW, **FORM).status_code == 403
    assert "/admin/keys" not in browser.get("/admin/users").text


def test_a_call_is_made_to_the_address_that_is_known(app: Flask, ada: Visitor, cast: Cast) -> None:
    page = ada.post(NEW, **FORM).text
    assert "http://localhost/v1/user/" in page
    client = app.test_client()
    client.set_cookie("enrol", ada.session_id or "", domain="evil.example")
    page = client.get("/admin/start", base_url="http://evil.example").text
    assert "evil.example" not in page
    assert "https://your-enrol/v1/user/" in page
    assert "ENROL_PUBLIC_URL" in page


class Old:
    """A key of Omar's to be rolled, and how it stands."""

    def __init__(self, app: Flask, cast: Cast, expires_in: timedelta | None = timedelta(days=30)) -> None:
        self.app = app
        self.key = make_key(app, Permission.USERS_READ, owner=cast.omar, name="CI")
        ((self.id,),) = rows(app, "SELECT id FROM api_keys")
        self.path = f"/admin/keys/{self.id}/roll"
        if expires_in:
            execute(app, "UPDATE api_keys SET expires_at = :at", at=clock.now() + expires_in)

    def works(self, key: str | None = None) -> bool:
        """Tell whether a call with the key, or another one, is let in."""
        headers = {"X-API-Key": key or self.key}
        return bool(self.app.test_client().get("/v1/user/me", headers=headers).status_code == 200)

    def left(self) -> timedelta:
        """Return how long it still goes on."""
        with self.app.app_context():
            end = api_keys.get_key(self.id).expires_at
        assert end
        return end - clock.now()


@pytest.fixture
def old(app: Flask, cast: Cast) -> Old:
    """Omar's key, which ends in 30 days."""
    return Old(app, cast)


def shown_in(page: Answer) -> dict[str, str]:
    """Return what the page's form says that it was made for."""
    return {"mark": mark_in(page), "was-expires_at": seen_end_in(page)}


def acts(app: Flask) -> list[str]:
    """Return what was done to keys, in order."""
    found = rows(app, "SELECT action FROM audit_events WHERE action LIKE 'key.%' ORDER BY id")
    return [row.action for row in found]


def test_rolling_puts_a_like_key_beside_the_old_one(app: Flask, ada: Visitor, old: Old) -> None:
    page = ada.get(old.path).text
    assert "<title>Roll this API key – API keys – Enrol</title>" in page
    assert re.search(r'value="24" id="ends-2" checked', page)
    assert re.search(r'value="90" id="expires-1" checked', page)
    assert "in any case" in page
    answer = ada.post(old.path, ends="24", expires="365")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    key = key_on(answer.text)
    assert "API key rolled" in answer.text
    assert f"The old key <code>{old.key[:8]}…</code> works until <time" in answer.text
    assert "Waiting for the first call" in answer.text
    assert f"X-API-Key: {key}" in answer.text
    assert old.works()
    assert old.works(key)
    found = rows(app, "SELECT name, owner_id, CAST(scopes AS TEXT) FROM api_keys")
    assert len(found) == 2
    assert found[0] == found[1]
    assert acts(app) == ["key.create", "key.create", "key.roll"]
    assert rows(app, "SELECT target_id FROM audit_events WHERE action = 'key.roll'")[0][0] == old.id
    assert key not in ada.get("/admin/keys").text


@pytest.mark.parametrize(
    ("ends", "expires_in", "hours"),
    [
        ("1", timedelta(days=30), 1),
        ("24", timedelta(days=30), 24),
        ("168", timedelta(days=30), 168),
        ("168", timedelta(days=3), 72),
        ("24", None, 24),
    ],
)
def test_the_old_key_ends_when_it_was_chosen_and_never_later_than_before(
    app: Flask, ada: Visitor, cast: Cast, ends: str, expires_in: timedelta | None, hours: int
) -> None:
    old = Old(app, cast, expires_in)
    assert ada.post(old.path, ends=ends, expires="never").status_code == 200
    assert timedelta(hours=hours, minutes=-5) < old.left() <= timedelta(hours=hours)
    assert old.works()


def test_a_key_can_be_rolled_to_end_now(ada: Visitor, old: Old) -> None:
    answer = ada.post(old.path, ends="0", expires="90")
    assert "has stopped working" in answer.text
    assert not old.works()
    assert old.works(key_on(answer.text))
    assert re.findall(r'<span class="tag[^"]*">(\w+)<', ada.get("/admin/keys").text) == ["Active", "Expired"]


@pytest.mark.parametrize("ends", ["0", "24"])
def test_a_roll_that_is_sent_twice_makes_one_key(app: Flask, ada: Visitor, old: Old, ends: str) -> None:
    shown = shown_in(ada.get(old.path))
    key_on(ada.post(old.path, **shown, ends=ends, expires="90").text)
    left = old.left()
    again = ada.post(old.path, **shown, ends="168", expires="90")
    assert again.status_code == 409
    assert "<h1>This API key was made a moment ago</h1>" in again.text
    assert acts(app) == ["key.create", "key.create", "key.roll"]
    assert old.left() <= left


ROLLED = "Somebody else rolled this API key after the page was opened, so no new key was made."


@pytest.mark.parametrize(
    ("expires_in", "ends"),
    [(timedelta(days=30), "24"), (timedelta(days=30), "168"), (timedelta(days=3), "168"), (None, "24")],
)
def test_the_second_of_two_who_roll_a_key_is_told(
    app: Flask, ada: Visitor, cast: Cast, expires_in: timedelta | None, ends: str
) -> None:
    old = Old(app, cast, expires_in)
    grace = signed_in(app, make_user(app, "grace@example.com", Role.ADMIN))
    first, second = ada.get(old.path), grace.get(old.path)

    def send(browser: Visitor, opened: Answer, **changed: str) -> Answer:
        return browser.post(old.path, **{**shown_in(opened), "ends": ends, "expires": "90", **changed})

    key_on(send(ada, first).text)
    left = old.left()
    refused = send(grace, second)
    assert refused.status_code == 422
    assert ROLLED in summary_in(refused)
    assert problems_in(refused) == [("ends", "It was rolled meanwhile. Rolling it again makes another new key")]
    assert acts(app) == ["key.create", "key.create", "key.roll"]
    assert old.left() <= left
    assert send(ada, first).status_code == 409  # the very form that rolled it
    key_on(send(grace, refused, ends="1").text)  # who knows of it may
    assert acts(app) == ["key.create", *["key.create", "key.roll"] * 2]


def test_a_roll_meanwhile_is_told_whatever_else_is_wrong(ada: Visitor, old: Old) -> None:
    shown = shown_in(ada.get(old.path))
    assert ada.post(old.path, ends="24", expires="90").status_code == 200
    words = "It was rolled meanwhile. Rolling it again makes another new key"
    assert problems_in(ada.post(old.path, **shown, ends="24", expires="")) == [
        ("ends", words),
        ("expires", "Choose when the key expires"),
    ]
    assert problems_in(ada.post(old.path, token="stale", **shown, ends="24", expires="90")) == [("ends", words)]


def test_two_who_roll_a_key_at_the_same_time_make_one(app: Flask, cast: Cast, old: Old) -> None:
    browsers = [signed_in(app, user) for user in (cast.ada, make_user(app, "grace@example.com", Role.ADMIN))]
    pages = [browser.get(old.path) for browser in browsers]
    tokens = [browser.token("/admin/account") for browser in browsers]

    def roll(number: int) -> int:
        form = {**shown_in(pages[number]), "ends": "24", "expires": "90"}
        return int(browsers[number].post(old.path, token=tokens[number], **form).status_code)

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(roll, range(2))) == [200, 422]
    assert acts(app) == ["key.create", "key.create", "key.roll"]


def test_rolls_at_the_same_time_make_one_key(app: Flask, old: Old) -> None:
    actor, new_id = terminal("req_test00000000"), ids.new_id("akid")

    def roll(_: int) -> str:
        with app.app_context():
            try:
                api_keys.roll_key(old.id, ends_in=timedelta(0), new_id=new_id, lifetime=None, actor=actor)
            except (KeyMadeAlready, KeyEnded) as error:
                return type(error).__name__
        return "made"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(roll, range(4))) == [*["KeyMadeAlready"] * 3, "made"]
    assert acts(app) == ["key.create", "key.create", "key.roll"]


@pytest.mark.parametrize("mark", ["", "x", "akid_" + "0" * 32])
def test_a_key_is_rolled_only_from_a_form_of_this_session(app: Flask, ada: Visitor, old: Old, mark: str) -> None:
    answer = ada.post(old.path, mark=mark, ends="1", expires="365")
    assert answer.status_code == 422
    assert "This page was open for too long" in summary_in(answer)
    assert re.search(r'value="1" id="ends-1" checked', answer.text)
    assert acts(app) == ["key.create"]


def test_a_form_that_does_not_say_which_end_it_showed_rolls_nothing(app: Flask, ada: Visitor, old: Old) -> None:
    mark = mark_in(ada.get(old.path))
    answer = ada.post(old.path, mark=mark, ends="1", expires="365")
    assert answer.status_code == 422
    assert "This page was open for too long" in summary_in(answer)
    assert acts(app) == ["key.create"]


def test_what_is_wrong_in_a_roll_is_said_at_once(app: Flask, ada: Visitor, old: Old) -> None:
    answer = ada.post(old.path, ends="5", expires="")
    assert answer.status_code == 422
    assert problems_in(answer) == [
        ("ends", "Choose when the old key stops working"),
        ("expires", "Choose when the key expires"),
    ]
    assert acts(app) == ["key.create"]


STOPPED = {
    "revoked": "UPDATE api_keys SET deactivated_at = created_at",
    "expired": "UPDATE api_keys SET expires_at = created_at",
    "owner deactivated": "UPDATE users SET is_active = false WHERE email = 'omar@example.com'",
}


@pytest.mark.parametrize("why", STOPPED)
def test_a_key_that_has_stopped_is_not_rolled(app: Flask, ada: Visitor, old: Old, why: str) -> None:
    shown = shown_in(ada.get(old.path))
    assert f'href="{old.path}"' in ada.get("/admin/keys").text
    execute(app, STOPPED[why])
    assert f'href="{old.path}"' not in ada.get("/admin/keys").text
    for answer in (ada.get(old.path), ada.post(old.path, **shown, ends="24", expires="90")):
        assert answer.status_code == 409
        assert "<h1>This API key cannot be rolled</h1>" in answer.text
        assert "<title>This API key" in answer.text
    assert acts(app) == ["key.create"]


def test_nobody_rolls_a_key_that_is_wider_than_themselves(
    app: Flask, omar: Visitor, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(roles._GRANTS, Role.OPERATOR, Role.OPERATOR.permissions | {Permission.KEYS_MANAGE})
    make_key(app, *Permission, owner=cast.ada)
    ((key_id,),) = rows(app, "SELECT id FROM api_keys")
    path = f"/admin/keys/{key_id}/roll"
    assert path not in omar.get("/admin/keys").text
    assert omar.get(path).status_code == 403
    assert omar.post(path, **shown_in(omar.get(NEW)), ends="0", expires="90").status_code == 403
    assert acts(app) == ["key.create"]


def test_a_service_key_stays_one_when_it_is_rolled(app: Flask, ada: Visitor) -> None:
    make_key(app, Permission.USERS_READ, name="service")
    ((key_id,),) = rows(app, "SELECT id FROM api_keys")
    path = f"/admin/keys/{key_id}/roll"
    page = ada.get(path).text
    assert "Service key" in page
    assert re.search(r'value="never" id="expires-3" checked', page)
    answer = ada.post(path, ends="24", expires="never")
    assert "This asks for one user." in answer.text
    assert "/v1/user/?limit=1" in answer.text
    headers = {"X-API-Key": key_on(answer.text)}
    assert app.test_client().get("/v1/user/?limit=1", headers=headers).status_code == 200
    assert rows(app, "SELECT 1 FROM api_keys WHERE owner_id IS NOT NULL") == []
