"""The message after an act: shown once, to the user who did it, whatever others do meanwhile."""

import json
import re

import pytest
from flask import Flask

from support.databases import rows
from support.people import PASSWORD, Cast, make_key
from support.visitors import LOGIN, Visitor, form_session_of, signed_in, summary_in
from users.http.session_cookie import MOST_MESSAGES
from users.roles import Permission
from users.services.links import setup_link


def notices_in(page: str) -> list[str]:
    """Return the messages that a page shows."""
    return re.findall(r'<div class="notice good"[^>]*>\s*<p class="lead">([^<]*)</p>', page)


def edited(app: Flask, ada: Visitor, cast: Cast) -> str:
    """Save a change of Omar as Ada and return where she is led."""
    path = f"/admin/users/{cast.omar.id}/edit"
    fields = dict(re.findall(r'name="(was-\w+)" value="([^"]*)"', ada.get(path).text))
    typed = {name.removeprefix("was-"): value for name, value in fields.items()}
    answer = ada.post(path, **{**fields, **typed, "first_name": "Joe"})
    assert answer.status_code == 303
    return str(answer.location)


def test_shown_once(app: Flask, ada: Visitor, cast: Cast) -> None:
    """A message is shown once, on a page that is not cached."""
    path = edited(app, ada, cast)
    assert path == f"/admin/users/{cast.omar.id}"
    page = ada.get(path)
    assert notices_in(page.text) == ["Changes saved"]
    assert page.headers["Cache-Control"] == "no-store"
    assert notices_in(ada.get(path).text) == []


def test_others_act(app: Flask, ada: Visitor, cast: Cast) -> None:
    """Field case 32: the user who was changed signs in before the next page."""
    path = edited(app, ada, cast)
    signed_in(app, cast.omar)
    assert notices_in(ada.get(path).text) == ["Changes saved"]


def test_waits_for_page(app: Flask, ada: Visitor, cast: Cast) -> None:
    """Browsers ask for icons, and open the docs in another tab."""
    path = edited(app, ada, cast)
    assert ada.get("/apple-touch-icon.png").status_code == 404
    assert "Changes saved" not in ada.get("/docs").text
    assert notices_in(ada.get(path).text) == ["Changes saved"]


def test_other_page(app: Flask, ada: Visitor, cast: Cast) -> None:
    """A message about Omar is not shown on the page of another user, whom it does not concern."""
    path = edited(app, ada, cast)
    assert notices_in(ada.get(f"/admin/users/{cast.vera.id}").text) == []
    assert notices_in(ada.get(path).text) == []


def test_double_click(ada: Visitor, cast: Cast) -> None:
    """A form that is sent twice before its page opens leaves one message."""
    token, path = ada.token("/account"), f"/admin/users/{cast.omar.id}"
    for act in ("deactivate", "reactivate", "reactivate"):
        assert ada.post(f"{path}/{act}", token=token).location == path
    assert notices_in(ada.get(path).text) == ["User deactivated", "User reactivated"]


def test_bounded(ada: Visitor, cast: Cast) -> None:
    """The cookie keeps the newest messages of a script that sends forms and opens no page."""
    token = ada.token("/account")
    sent = [
        (f"/admin/users/{user.id}", act)
        for act in ("deactivate", "reactivate", "deactivate")
        for user in (cast.omar, cast.vera, cast.sam)
    ]
    for path, act in sent:
        assert ada.post(f"{path}/{act}", token=token).location == path
    kept = form_session_of(ada)["_flashes"]
    assert isinstance(kept, list)
    assert [one[" t"] for one in kept] == [[path, f"User {act}d"] for path, act in sent[-MOST_MESSAGES:]]


def test_newest_revoked(app: Flask, ada: Visitor, cast: Cast) -> None:
    """If two API keys were revoked and no page was opened between, the list names the last one."""
    for name in ("First", "Second"):
        make_key(app, Permission.USERS_READ, owner=cast.ada, name=name)
    token = ada.token("/account")
    for (key_id,) in rows(app, "SELECT id FROM api_keys ORDER BY name"):
        ada.post(f"/admin/keys/{key_id}/revoke", token=token)
    page = ada.get("/admin/keys").text
    assert notices_in(page) == ["API key revoked"]
    assert re.search(r"<p><a [^>]+><bdi dir=\"auto\">Second</bdi></a> \(<code>\w+…</code>\) never works again", page)


def test_links_make_none(ada: Visitor, cast: Cast) -> None:
    """A link cannot show a message."""
    for path in (f"/admin/users/{cast.omar.id}", "/admin/users", "/admin/keys", "/account", LOGIN):
        for query in ("done=created", "done=updated", "done=out", f"deleted={cast.omar.id}", "revoked=x"):
            assert notices_in(ada.get(f"{path}?{query}").text) == []


def test_other_user(app: Flask, ada: Visitor, cast: Cast) -> None:
    """A message is not shown to another user who signs in."""
    edited(app, ada, cast)
    ada.session_id = "ended"
    ada.post(LOGIN, token=None)  # no page is shown in between
    assert ada.client.post(
        LOGIN, data={"email": "vera@example.com", "password": PASSWORD, "csrf_token": ada.token()}
    ).location == ("/admin")
    assert notices_in(ada.get("/admin/users").text) == []


def test_new_session(app: Flask, ada: Visitor, cast: Cast) -> None:
    """Another session in the browser drops the messages."""
    token = ada.token("/account")
    edited(app, ada, cast)
    vera = signed_in(app, cast.vera)
    assert vera.session_id
    ada.session_id = vera.session_id  # the next request is Vera's, with the messages of Ada still in the cookie
    assert notices_in(ada.get("/admin/users").text) == []
    assert token != ada.token("/account")


def test_signed_out(ada: Visitor) -> None:
    """After the sign-out the sign-in page says so once."""
    answer = ada.post("/admin/logout")
    assert (answer.status_code, answer.location) == (303, "/admin/login")
    assert notices_in(ada.get(LOGIN).text) == ["You are signed out"]
    assert notices_in(ada.get(LOGIN).text) == []


def test_sign_in_page(app: Flask, ada: Visitor, cast: Cast) -> None:
    """The sign-in page shows no message of a user whose session ended."""
    path = edited(app, ada, cast)
    ada.session_id = "ended"
    there = ada.get(path).location
    assert there.startswith(LOGIN)
    assert notices_in(ada.get(there).text) == []


@pytest.mark.parametrize("act", ["created", "revoked"])
def test_cookie(app: Flask, ada: Visitor, act: str) -> None:
    """A browser's user can read the cookie, and so can a program on the same machine."""
    if act == "created":
        ada.create(email="jo@example.com", first_name="Josephine")
        ((found,),) = rows(app, "SELECT id FROM users WHERE email = 'jo@example.com'")
    else:
        ada.post("/admin/keys/new", name="Nightly", scopes="users:read", owner="ada@example.com", expires="90")
        ((found,),) = rows(app, "SELECT id FROM api_keys")
        ada.post(f"/admin/keys/{found}/revoke")
    kept = form_session_of(ada)
    assert set(kept) == {"csrf_token", "_flashes"}
    assert found in json.dumps(kept["_flashes"])
    for value in ("jo@example.com", "Josephine", PASSWORD, "Nightly"):
        assert value not in json.dumps(kept)


def test_created_by_setup(app: Flask) -> None:
    """Field case 31: the set-up made the user who now creates their own address."""
    with app.app_context():
        path = f"/setup?token={setup_link.issue()}"
    ada = Visitor(app.test_client())
    ada.get(path)
    assert ada.post("/setup", token=ada.token("/setup"), email="ada@example.com", password=PASSWORD).status_code == 303
    again = ada.create(email="ada@example.com")
    words = " ".join(summary_in(again).split())
    assert words.endswith("already exists: View ada@example.com, created by you a moment ago")
