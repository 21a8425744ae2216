"""The API creates a user and reads it, by id and by email."""

import re
from urllib.parse import quote

import pytest
from flask import Flask

from support.api import USER_FIELDS, Api
from support.people import UNKNOWN_ID, Cast, make_key, make_user
from users.actors import terminal
from users.roles import Permission
from users.services import user_changes


def test_create(api: Api) -> None:
    answer = api.create(email=" Jo@EXAMPLE.com ", first_name=" Jo ", last_name="")
    assert answer.status_code == 201
    assert list(answer.json) == USER_FIELDS
    user = answer.json
    assert user["email"] == "Jo@example.com"
    assert (user["first_name"], user["last_name"]) == ("Jo", None)
    assert re.fullmatch(r"usr_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", user["id"])
    assert user["is_active"] is True
    assert user["last_verified"] is None
    assert user["global_role_id"] is None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", user["created_at"])
    assert user["updated_at"] == user["created_at"]
    assert answer.headers["Location"] == f"/v1/user/{user['id']}"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.content_type == "application/json"
    assert api.get(answer.headers["Location"]).json["email"] == "Jo@example.com"


SPELLINGS = {
    "straße@bücher.com": [
        "straße@bücher.com",
        "STRASSE@BÜCHER.COM",
        "ﬆraße@xn--bcher-kva.com",
        "ｓｔｒａｓｓｅ@bu\u0308cher.com",
        " straße@bücher.com ",
    ],
    "a/b+c@example.com": ["a/b+c@example.com", "A/B+C@EXAMPLE.COM"],
    "a%b#c?d@example.com": ["a%b#c?d@example.com"],
}


@pytest.mark.parametrize("email", SPELLINGS)
def test_email_in_any_spelling(app: Flask, api: Api, email: str) -> None:
    """A spelling that a create refuses as taken is found."""
    user = make_user(app, email)
    for spelling in SPELLINGS[email]:
        assert api.create(email=spelling).status_code == 409
        for path in (quote(spelling), quote(spelling, safe=""), quote(spelling) + "/"):
            answer = api.get(f"/v1/user/email/{path}")
            assert list(answer.json) == USER_FIELDS
            assert answer.json == user.as_user()


@pytest.mark.parametrize("path", ["nobody@example.com", "no email", "%00", "a@b.c//", "%ff@example.com", "x" * 9000])
def test_unknown_email(api: Api, cast: Cast, path: str) -> None:
    answer = api.get(f"/v1/user/email/{path}")
    assert (answer.status_code, answer.json["error"]["code"]) == (404, "USER_NOT_FOUND")


def test_email_of_a_deleted_user(app: Flask, api: Api, cast: Cast) -> None:
    with app.app_context():
        user_changes.delete_user(cast.sam.id, actor=terminal("req_test00000000"))
    assert api.get("/v1/user/email/sam@example.com").status_code == 404
    made = api.create(email="sam@example.com").json
    assert api.get("/v1/user/email/sam@example.com").json == made


def test_members(app: Flask, api: Api, cast: Cast) -> None:
    assert list(api.get(f"/v1/user/{cast.ada.id}").json) == [*USER_FIELDS, "full_name", "last_login"]
    assert list(api.get("/v1/user/email/ada@example.com").json) == USER_FIELDS


READS = ["/v1/user/", "/v1/user/deleted", "/v1/user/email/ada@example.com"]


@pytest.mark.parametrize("path", [*READS, "/v1/user/batch"])
def test_reading_needs_the_permission(app: Flask, api: Api, cast: Cast, path: str) -> None:
    method, body = ("POST", {"user_ids": [UNKNOWN_ID]}) if path.endswith("batch") else ("GET", None)
    others = make_key(app, *(one for one in Permission if one != Permission.USERS_READ))
    for key, status in ((None, 401), (others, 403), (api.key, 200)):
        assert api.call(method, path, key=key, json=body).status_code == status


@pytest.mark.parametrize("path", READS)
def test_head_is_get_without_the_body(api: Api, cast: Cast, path: str) -> None:
    got, head = api.get(path), api.call("HEAD", path)
    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["Content-Length"] == got.headers["Content-Length"]


@pytest.mark.one_database
@pytest.mark.parametrize("word", ["batch", "current", "deleted", "email", "me", "profile", "verify-password"])
def test_words_in_a_path_are_no_ids(app: Flask, api: Api, cast: Cast, word: str) -> None:
    api.key = make_key(app, *Permission, owner=cast.ada)
    for method in ("PATCH", "DELETE"):
        answer = api.call(method, f"/v1/user/{word}", json={})
        assert answer.status_code == (404 if word == "email" else 405)
        assert "PATCH" not in answer.headers.get("Allow", "")
    for answer in (api.get(f"/v1/user/{word}x"), api.get(f"/v1/user/x{word}")):
        assert answer.json["error"]["code"] == "USER_NOT_FOUND"
