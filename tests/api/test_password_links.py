"""The API makes, shows and ends the links with which users choose a password."""

from datetime import timedelta

import pytest
from flask import Flask

from support.api import Api, status_and_code
from support.databases import everything_stored, execute
from support.error_responses import comparable
from support.password_links import acts, opens
from support.people import UNKNOWN_ID, Cast, make_key
from users import clock
from users.roles import Permission

pytestmark = pytest.mark.one_database


@pytest.fixture
def api(app: Flask) -> Api:
    """A caller whose service key may do everything."""
    return Api(app.test_client(), make_key(app, *Permission))


def test_end_of_a_link(app: Flask, api: Api, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default 7 days for who has no password, else 24 hours."""
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now)
    lifetimes: list[tuple[dict[str, float], int]] = [
        ({}, 604_800),
        ({"expires_in": 300.0}, 300),
        ({"expires_in": 2_592_000}, 2_592_000),
    ]
    for number, (body, seconds) in enumerate(lifetimes):
        expected = clock.rfc3339(now + timedelta(seconds=seconds))
        invited = api.invite(json={"email": f"jo{number}@example.com", **body}).json
        assert invited["expires_at"] == expected
        again = api.link(invited["user"]["id"], json=body)
        assert (again.status_code, list(again.json)) == (201, ["password_url", "expires_at"])
        assert again.json["expires_at"] == expected
        assert opens(app, again.json["password_url"]) == invited["user"]["id"]
        assert opens(app, invited["password_url"]) is None
    assert api.link(cast.sam.id).json["expires_at"] == clock.rfc3339(now + timedelta(hours=24))


def test_wrong_lifetime(app: Flask, api: Api, cast: Cast) -> None:
    """One sentence at both paths, and nothing is written."""
    api.get("/v1/user/?limit=1")  # writes when the key was used, once a minute
    before = everything_stored(app)
    words = "expires_in must be a whole number of seconds from 300 to 2,592,000 (5 minutes to 30 days)"
    for value in (299, 1e300, True, "300"):
        body, code = {"expires_in": value}, "OUT_OF_RANGE" if value in (299, 1e300) else "INVALID_TYPE"
        for answer in (api.invite(json={"email": "jo@example.com", **body}), api.link(cast.sam.id, json=body)):
            assert status_and_code(answer) == (422, code)
            error = {"field": "expires_in", "code": code, "message": words}
            assert answer.json["error"]["details"]["errors"] == [error]
    assert everything_stored(app) == before


def test_unknown_base_url(app: Flask, api: Api, cast: Cast) -> None:
    """The error is that of a verification link, before the body is read, and nothing is written."""
    api.get("/v1/user/?limit=1")
    before = everything_stored(app)
    elsewhere = {"Host": "elsewhere.example"}
    expected = comparable(api.call("POST", f"/v1/user/{cast.sam.id}/verification", headers=elsewhere))
    assert expected["code"] == "UNTRUSTED_HOST"
    for answer in (
        api.invite(headers=elsewhere),
        api.invite("?validate_only=true", headers=elsewhere, once="one"),
        api.link(cast.sam.id, headers=elsewhere),
    ):
        assert comparable(answer) == expected
    assert everything_stored(app) == before
    for method in ("GET", "DELETE"):  # they show no link
        assert api.link(cast.sam.id, method, headers=elsewhere).status_code == 200


@pytest.mark.parametrize("settings", [{"ENROL_PUBLIC_URL": "https://users.example.com"}])
def test_public_url(api: Api) -> None:
    answer = api.invite(headers={"Host": "elsewhere.example"}).json
    assert answer["password_url"].startswith("https://users.example.com/password?token=usr_")
    assert api.link(answer["user"]["id"]).json["password_url"].startswith("https://users.example.com/password?token=")


def test_order_of_checks(app: Flask, api: Api) -> None:
    """Authenticate, authorise, parse, validate, act."""
    for path in ("/v1/user/invite", f"/v1/user/{UNKNOWN_ID}/password-link"):
        for key, status in ((None, 401), (make_key(app), 403)):
            assert api.call("POST", path, key=key, data=b"{").status_code == status
        assert api.call("POST", path).status_code == 415
        assert api.call("POST", path, data=b"{", content_type="application/json").status_code == 400
        assert api.call("POST", path, json={"expires_in": 1}).status_code == 422
    for method in ("DELETE", "GET", "POST"):
        assert status_and_code(api.link(UNKNOWN_ID, method)) == (404, "USER_NOT_FOUND")


def test_state(app: Flask, api: Api, cast: Cast) -> None:
    """A key that may read users sees the state of the password, and never the link."""
    key = make_key(app, Permission.USERS_READ)
    nothing = {"has_password": True, "password_change_required": False, "expires_at": None}
    assert list(nothing) == list(api.link(cast.sam.id, "GET", key=key).json)
    assert api.link(cast.sam.id, "GET", key=key).json == nothing
    assert api.patch_user(cast.sam.id, password_change_required=True).status_code == 200
    made = api.link(cast.sam.id).json
    answer = api.link(cast.sam.id, "GET", key=key)
    assert answer.json == {**nothing, "password_change_required": True, "expires_at": made["expires_at"]}
    head = api.link(cast.sam.id, "HEAD", key=key)
    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["Content-Length"] == answer.headers["Content-Length"]
    assert opens(app, made["password_url"]) == cast.sam.id
    invited = api.invite().json
    state = {"has_password": False, "password_change_required": False, "expires_at": invited["expires_at"]}
    assert api.link(invited["user"]["id"], "GET").json == state
    execute(app, "UPDATE users SET password_link_ends_at = created_at")
    assert api.link(invited["user"]["id"], "GET").json == {**state, "expires_at": None}


def test_end_link(app: Flask, api: Api, cast: Cast) -> None:
    """The answer is the same without one; only the end of an open one is an event."""
    url = api.link(cast.sam.id).json["password_url"]
    answers = [api.link(cast.sam.id, "DELETE") for _ in range(2)]
    ended = {"success": True, "message": "The user has no open password link.", "user_id": cast.sam.id}
    assert [(one.status_code, one.json) for one in answers] == [(200, ended)] * 2
    assert opens(app, url) is None
    assert acts(app, cast.sam.id)[1:] == [("password_link.create", "key"), ("password_link.revoke", "key")]


def test_deactivated_user(api: Api, cast: Cast) -> None:
    assert api.patch_user(cast.sam.id, is_active=False).status_code == 200
    answer = api.link(cast.sam.id)
    assert status_and_code(answer) == (409, "USER_DEACTIVATED")
    assert answer.json["error"]["message"] == "This user is deactivated. Reactivate them first."
    assert [api.link(cast.sam.id, method).status_code for method in ("GET", "DELETE")] == [200, 200]


def test_operator_makes_no_link_for_an_administrator(app: Flask, api: Api, cast: Cast) -> None:
    """Nor ends one: an operator could else become an administrator, or keep one out."""
    omar = make_key(app, *Permission, owner=cast.omar)
    assert api.link(cast.sam.id, key=omar).status_code == 201
    url = api.link(cast.ada.id).json["password_url"]
    for method in ("POST", "DELETE"):
        answer = api.link(cast.ada.id, method, key=omar)
        assert status_and_code(answer) == (403, "INSUFFICIENT_PERMISSIONS")
        assert answer.headers["WWW-Authenticate"].startswith('Bearer error="insufficient_scope", scope="')
        assert "users:delete" in answer.headers["WWW-Authenticate"]
    assert api.link(cast.ada.id, "GET", key=omar).status_code == 200
    assert opens(app, url) == cast.ada.id
