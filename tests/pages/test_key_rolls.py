"""The page that rolls an API key: a new key beside the old one, which ends."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask import Flask

from support.api import Answer
from support.databases import execute, rows
from support.page_forms import key_on
from support.people import Cast, make_key, make_user
from support.visitors import Visitor, mark_in, problems_in, seen_end_in, signed_in, summary_in
from users import clock, ids, roles
from users.actors import terminal
from users.form_errors import KeyEnded, KeyMadeAlready
from users.roles import Permission, Role
from users.services import api_keys

NEW = "/admin/keys/new"


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


def test_roll(app: Flask, ada: Visitor, old: Old) -> None:
    """The new key has the name, scopes and owner of the old one."""
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


@pytest.mark.one_database
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
def test_old_key_end(app: Flask, ada: Visitor, cast: Cast, ends: str, expires_in: timedelta | None, hours: int) -> None:
    """The old key ends at the chosen time, but never later than before."""
    old = Old(app, cast, expires_in)
    assert ada.post(old.path, ends=ends, expires="never").status_code == 200
    assert timedelta(hours=hours, minutes=-5) < old.left() <= timedelta(hours=hours)
    assert old.works()


def test_a_key_can_be_rolled_to_end_now(ada: Visitor, old: Old) -> None:
    answer = ada.post(old.path, ends="0", expires="90")
    assert "has stopped working" in answer.text
    assert not old.works()
    assert old.works(key_on(answer.text))
    for path, state in (("/admin/keys", "Active"), ("/admin/keys?state=ended", "Expired")):
        assert re.findall(r'<span class="tag[^"]*">(\w+)<', ada.get(path).text) == [state]


@pytest.mark.parametrize("ends", ["0", "24"])
def test_roll_sent_twice(app: Flask, ada: Visitor, old: Old, ends: str) -> None:
    """A form that is sent twice makes one key."""
    shown = shown_in(ada.get(old.path))
    key_on(ada.post(old.path, **shown, ends=ends, expires="90").text)
    left = old.left()
    again = ada.post(old.path, **shown, ends="168", expires="90")
    assert again.status_code == 409
    assert "<h1>This API key was made a moment ago</h1>" in again.text
    assert acts(app) == ["key.create", "key.create", "key.roll"]
    assert old.left() <= left


ROLLED = "Somebody else rolled this API key after the page was opened, so no new key was made."


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("expires_in", "ends"),
    [(timedelta(days=30), "24"), (timedelta(days=30), "168"), (timedelta(days=3), "168"), (None, "24")],
)
def test_two_rolls(app: Flask, ada: Visitor, cast: Cast, expires_in: timedelta | None, ends: str) -> None:
    """The second administrator is told that the key was rolled."""
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


def test_rolled_meanwhile(ada: Visitor, old: Old) -> None:
    """The page says that the key was rolled, also beside other problems."""
    shown = shown_in(ada.get(old.path))
    assert ada.post(old.path, ends="24", expires="90").status_code == 200
    words = "It was rolled meanwhile. Rolling it again makes another new key"
    assert problems_in(ada.post(old.path, **shown, ends="24", expires="")) == [
        ("ends", words),
        ("expires", "Choose when the key expires"),
    ]
    assert problems_in(ada.post(old.path, token="stale", **shown, ends="24", expires="90")) == [("ends", words)]


def test_parallel_rolls_by_two(app: Flask, cast: Cast, old: Old) -> None:
    """Two administrators who roll a key in parallel make one new key."""
    browsers = [signed_in(app, user) for user in (cast.ada, make_user(app, "grace@example.com", Role.ADMIN))]
    pages = [browser.get(old.path) for browser in browsers]
    tokens = [browser.token("/account") for browser in browsers]

    def roll(number: int) -> int:
        form = {**shown_in(pages[number]), "ends": "24", "expires": "90"}
        return int(browsers[number].post(old.path, token=tokens[number], **form).status_code)

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(roll, range(2))) == [200, 422]
    assert acts(app) == ["key.create", "key.create", "key.roll"]


def test_parallel_rolls(app: Flask, old: Old) -> None:
    """Parallel requests of one form make one key."""
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


@pytest.mark.one_database
@pytest.mark.parametrize("mark", ["", "x", "akid_" + "0" * 32])
def test_roll_with_wrong_mark(app: Flask, ada: Visitor, old: Old, mark: str) -> None:
    """A key is rolled only with the mark of a form of this session."""
    answer = ada.post(old.path, mark=mark, ends="1", expires="365")
    assert answer.status_code == 422
    assert "This page was open for too long" in summary_in(answer)
    assert re.search(r'value="1" id="ends-1" checked', answer.text)
    assert acts(app) == ["key.create"]


def test_roll_without_seen_end(app: Flask, ada: Visitor, old: Old) -> None:
    """A form without the end that it showed rolls nothing."""
    mark = mark_in(ada.get(old.path))
    answer = ada.post(old.path, mark=mark, ends="1", expires="365")
    assert answer.status_code == 422
    assert "This page was open for too long" in summary_in(answer)
    assert acts(app) == ["key.create"]


def test_roll_problems(app: Flask, ada: Visitor, old: Old) -> None:
    """All problems are shown at once."""
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


@pytest.mark.one_database
@pytest.mark.parametrize("why", STOPPED)
def test_roll_ended_key(app: Flask, ada: Visitor, old: Old, why: str) -> None:
    """A key that has stopped cannot be rolled."""
    shown = shown_in(ada.get(old.path))
    assert f'href="{old.path}"' in ada.get("/admin/keys").text
    execute(app, STOPPED[why])
    assert f'href="{old.path}"' not in ada.get("/admin/keys").text
    for answer in (ada.get(old.path), ada.post(old.path, **shown, ends="24", expires="90")):
        assert answer.status_code == 409
        assert "<h1>This API key cannot be rolled</h1>" in answer.text
        assert "<title>This API key" in answer.text
    assert acts(app) == ["key.create"]


def test_roll_wider_key(app: Flask, omar: Visitor, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """An administrator cannot roll a key with scopes that they do not hold."""
    monkeypatch.setitem(roles._GRANTS, Role.OPERATOR, Role.OPERATOR.permissions | {Permission.KEYS_MANAGE})
    make_key(app, *Permission, owner=cast.ada)
    ((key_id,),) = rows(app, "SELECT id FROM api_keys")
    path = f"/admin/keys/{key_id}/roll"
    assert path not in omar.get("/admin/keys").text
    assert omar.get(path).status_code == 403
    assert omar.post(path, **shown_in(omar.get(NEW)), ends="0", expires="90").status_code == 403
    assert acts(app) == ["key.create"]


def test_roll_service_key(app: Flask, ada: Visitor) -> None:
    """A service key has no owner after a roll either."""
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
