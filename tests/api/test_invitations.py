"""The API invites a user: a create without a password, and a link with which the person chooses one."""

import pytest
from flask import Flask

from support.api import USER_FIELDS, Answer, Api, status_and_code
from support.create_cases import API, CASES
from support.databases import everything_stored, rows
from support.error_responses import comparable
from support.password_links import acts, opens
from support.people import PASSWORD, Cast, make_key
from users.errors import Overloaded
from users.openapi import contract
from users.passwords.hash_queue import HashQueue
from users.roles import Permission
from users.storage.models import User

pytestmark = pytest.mark.one_database

BODY = {"email": "jo@example.com"}


@pytest.fixture
def api(app: Flask) -> Api:
    """A caller whose service key may do everything."""
    return Api(app.test_client(), make_key(app, *Permission))


def test_invitation(app: Flask, api: Api) -> None:
    answer = api.invite(json={"email": " Jo@EXAMPLE.com ", "first_name": " Jo ", "last_name": ""})
    user = answer.json["user"]
    assert answer.status_code == 201
    assert list(answer.json) == ["user", "password_url", "expires_at"]
    assert list(user) == USER_FIELDS
    assert (user["email"], user["first_name"], user["last_name"]) == ("Jo@example.com", "Jo", None)
    assert (user["is_active"], user["global_role_id"], user["last_verified"]) == (True, None, None)
    assert answer.headers["Location"] == f"/v1/user/{user['id']}"
    assert answer.headers["ETag"] == api.get(answer.headers["Location"]).headers["ETag"]
    assert answer.json["password_url"].startswith("http://localhost/password?token=")
    assert opens(app, answer.json["password_url"]) == user["id"]
    assert acts(app, user["id"]) == [("user.create", "key"), ("password_link.create", "key")]
    body = {"email": "jo@example.com", "password": "any"}
    assert api.call("POST", "/v1/user/verify-password", json=body).json == {"valid": False}
    key = make_key(app, owner=User(id=user["id"]))
    assert api.get("/v1/user/current", key=key).json == user  # a user without a password may own keys


def test_errors_are_those_of_a_create(api: Api) -> None:
    """Each input of the table, less the password, gets the very errors; a password is an unknown field."""
    tried = [case for case in CASES.values() if API in case.doors and "password" not in case.given]
    assert len(tried) > 50
    for case in tried:
        words = [one for one in case.errors if one[1] not in ("UNKNOWN_FIELD", "USER_ALREADY_EXISTS")]
        if len(words) == len(case.errors):
            body = {name: value for name, value in case.members.items() if name != "password"}
            answer = api.invite("?validate_only=true", json=body).json
            errors = answer["error"]["details"]["errors"] if words else []
            assert [(one["field"], one["code"], one["message"]) for one in errors] == words, body
    for password in (PASSWORD, None):
        answer = api.invite(json={**BODY, "password": password})
        assert status_and_code(answer) == (422, "UNKNOWN_FIELD")
    advice = "The fields are: email, first_name, last_name, expires_in"
    assert answer.json["error"]["message"] == f'Unknown field "password". {advice}'


def test_taken_email(app: Flask, api: Api, cast: Cast) -> None:
    """It is 409 as in a create, and names the user to readers; validate_only says the same and writes nothing."""
    api.get("/v1/user/?limit=1")  # writes when the key was used, once a minute
    before = everything_stored(app)
    given = {"email": "SAM@example.com"}
    answers = [api.invite(query, json=given) for query in ("", "?validate_only=true")]
    answers.append(api.create(email="SAM@example.com"))
    errors = [comparable(one) for one in answers]
    assert errors[0] == errors[1] == errors[2]
    assert errors[0]["details"]["user_id"] == cast.sam.id
    assert everything_stored(app) == before
    blind = api.invite(json=given, key=make_key(app, Permission.USERS_CREATE))
    assert "user_id" not in blind.json["error"]["details"]


def test_validate_only(app: Flask, api: Api) -> None:
    api.get("/v1/user/?limit=1")
    before = everything_stored(app)
    answer = api.invite("?validate_only=true", json={**BODY, "expires_in": 300}, once="one")
    assert (answer.status_code, answer.json) == (200, {"valid": True})
    assert "Location" not in answer.headers
    refused = api.invite("?validate_only=true", json={**BODY, "expires_in": 299})
    assert comparable(refused) == comparable(api.invite(json={**BODY, "expires_in": 299}))
    assert status_and_code(api.invite("?validate_only=maybe")) == (400, "INVALID_PARAMETER")
    assert everything_stored(app) == before


def test_repeated_invitation(app: Flask, api: Api) -> None:
    """The same bytes, Location and ETag while the link is open, else null for the link; never a newer link."""
    first = api.invite(once="one")
    assert "Idempotent-Replayed" not in first.headers
    for again in (api.invite(once="one"), api.invite("/", once="one")):
        assert (again.status_code, again.data) == (201, first.data)
        assert all(again.headers[name] == first.headers[name] for name in ("Location", "ETag"))
        assert again.headers["Idempotent-Replayed"] == "true"
    assert api.invite("?validate_only=true", once="one").json == {"valid": True}
    user = first.json["user"]
    assert api.link(user["id"]).status_code == 201
    ended = api.invite(once="one")
    assert ended.json == {"user": user, "password_url": None, "expires_at": None}
    assert (ended.status_code, ended.headers["Idempotent-Replayed"]) == (201, "true")
    creates = [create_once(api, body) for body in (BODY, {**BODY, "password": PASSWORD})]
    for reused in (api.invite(json={**BODY, "expires_in": 300}, once="one"), *creates):
        assert status_and_code(reused) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert len(rows(app, "SELECT id FROM users")) == 1


def create_once(api: Api, body: dict[str, str]) -> Answer:
    """Send a create under the Idempotency-Key of an invitation."""
    return api.call("POST", "/v1/user/", json=body, headers={"Idempotency-Key": "one"})


def test_full_hash_queue(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """It refuses a create and no invitation, which hashes nothing."""

    def refuse(*_: object) -> None:
        raise Overloaded

    for name in ("place", "require_place"):
        monkeypatch.setattr(HashQueue, name, refuse)
    assert status_and_code(api.create()) == (503, "OVERLOADED")
    assert api.invite().status_code == 201
    assert api.invite(once="one", json={"email": "al@example.com"}).status_code == 201


def test_key_that_may_only_create(app: Flask, api: Api, cast: Cast) -> None:
    """It can invite, and none of the other operations but a create."""
    key = make_key(app, Permission.USERS_CREATE)
    made = api.invite(key=key)
    assert made.status_code == 201
    for one in contract.operations():
        if one.permissions and one.id not in ("createUser", "inviteUser"):
            path = one.path.format(user_id=made.json["user"]["id"], email=BODY["email"], import_id=f"imp_{'0' * 32}")
            answer = api.call(one.method, path, key=key, json={} if one.body else None)
            assert (one.id, *status_and_code(answer)) == (one.id, 403, "INSUFFICIENT_PERMISSIONS")
    assert opens(app, made.json["password_url"]) == made.json["user"]["id"]
