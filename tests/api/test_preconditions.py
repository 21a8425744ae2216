"""A change may ask, with If-Match, that the user is still as the caller has seen them (RFC 9110)."""

from collections.abc import Callable

import pytest
from flask import Flask

from support.api import Answer, Api, status_and_code
from support.people import PASSWORD, UNKNOWN_ID, Cast, make_key
from users.roles import Permission
from users.storage.models import User

pytestmark = pytest.mark.one_database

UPDATE = Permission.USERS_UPDATE


@pytest.fixture
def api(app: Flask) -> Api:
    """A caller whose service key may do everything."""
    return Api(app.test_client(), make_key(app, *Permission))


def tag(api: Api, user: User) -> str:
    """Return the user's entity tag."""
    found: str = api.get(f"/v1/user/{user.id}").headers["ETag"]
    return found


def test_etag_changes_with_the_profile(app: Flask, api: Api, cast: Cast) -> None:
    """With any change that a caller can see, and with no other."""
    seen = [tag(api, cast.sam)]
    sign_in = {"email": "sam@example.com", "password": "another password"}
    acts: list[Callable[[], Answer]] = [
        lambda: api.patch_user(cast.sam.id, first_name="Sam"),
        lambda: api.patch_user(cast.sam.id, password="another password"),
        lambda: api.call("POST", "/v1/user/verify-password", json=sign_in),  # last_login
        lambda: api.patch_user(cast.sam.id, is_active=False),
    ]
    for act in acts:
        assert act().status_code == 200
        seen.append(tag(api, cast.sam))
    assert len(set(seen)) == len(seen)
    for act in (lambda: api.patch_user(cast.sam.id, is_active=False), lambda: api.delete_user(UNKNOWN_ID)):
        act()
        assert tag(api, cast.sam) == seen[-1]


def test_etag_of_a_create(api: Api) -> None:
    """A replayed create has the tag of the first answer."""
    body = {"email": "jo@example.com", "password": PASSWORD}
    headers = {"Idempotency-Key": "one"}
    first = api.call("POST", "/v1/user/", json=body, headers=headers)
    user_id = first.json["id"]
    assert first.headers["ETag"] == api.get(f"/v1/user/{user_id}").headers["ETag"]
    assert api.create(email="other@example.com").headers["ETag"]
    assert api.patch_user(user_id, first_name="Jo").status_code == 200
    again = api.call("POST", "/v1/user/", json=body, headers=headers)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["ETag"] == first.headers["ETag"]
    assert api.patch_user(user_id, first_name="Joe", if_match=again.headers["ETag"]).status_code == 412


# What If-Match can hold, where {} is the user's tag, and whether the user may then be changed.
MATCHES = [
    ("{}", True),
    ("*", True),
    (" {} ", True),
    ('"other", {}', True),
    ('"other",{},"a,b"', True),
    (',, {} ,\t,"x"', True),
    ('"other"', False),
    ('""', False),
    ("W/{}", False),
    ('W/"other"', False),
    ('"a,b", W/{}', False),
    ('"é"', False),
]


@pytest.mark.parametrize(("header", "fits"), MATCHES)
def test_change_needs_a_matching_tag(api: Api, cast: Cast, header: str, fits: bool) -> None:
    given = header.format(tag(api, cast.sam))
    answer = api.patch_user(cast.sam.id, first_name="Sam", if_match=given)
    if not fits:
        assert status_and_code(answer) == (412, "PRECONDITION_FAILED")
        assert status_and_code(api.delete_user(cast.sam.id, if_match=given)) == (412, "PRECONDITION_FAILED")
        assert api.get(f"/v1/user/{cast.sam.id}").json == cast.sam.as_profile()
        return
    assert answer.status_code == 200
    if "{}" in header:
        assert status_and_code(api.delete_user(cast.sam.id, if_match=given)) == (412, "PRECONDITION_FAILED")
    assert api.delete_user(cast.sam.id, if_match=header.format(answer.headers["ETag"])).status_code == 200


def test_weak_tag(api: Api, cast: Cast) -> None:
    """A proxy that compresses answers makes tags weak; the error says so. Without the W/, the tag matches."""
    strong = tag(api, cast.sam)
    for header in (f"W/{strong}", 'W/"other"', f'"other", W/{strong}'):
        for answer in (
            api.patch_user(cast.sam.id, first_name="Sam", if_match=header),
            api.delete_user(cast.sam.id, if_match=header),
        ):
            assert status_and_code(answer) == (412, "PRECONDITION_FAILED")
            message = answer.json["error"]["message"]
            assert "weak ETag" in message
            assert "proxy" in message
    assert "weak" not in api.delete_user(cast.sam.id, if_match='"other"').json["error"]["message"]
    assert api.patch_user(cast.sam.id, first_name="Sam", if_match=f'W/"other", {strong}').status_code == 200


MALFORMED = ["", "abc", '"abc', 'abc"', '"a" "b"', '"a";"b"', '*, "a"', 'w/"a"', 'W/ "a"', "W/*", ",", "'a'", '"a b"']


@pytest.mark.parametrize("header", [*MALFORMED, '"a", ' + " , " * 3000 + "b"])
def test_malformed_if_match(api: Api, cast: Cast, header: str) -> None:
    for answer in (
        api.patch_user(cast.sam.id, first_name="Sam", if_match=header),
        api.delete_user(cast.sam.id, if_match=header),
    ):
        assert status_and_code(answer) == (400, "INVALID_PARAMETER")
        assert answer.json["error"]["details"] == {"parameter": "If-Match"}
    assert api.get(f"/v1/user/{cast.sam.id}").json == cast.sam.as_profile()


def test_precondition_is_checked_last(app: Flask, api: Api, cast: Cast) -> None:
    """A request that fails without If-Match fails in the same way with it (RFC 9110, section 13.2.1)."""
    stale = '"other"'
    assert status_and_code(api.patch_user(UNKNOWN_ID, if_match=stale)) == (404, "USER_NOT_FOUND")
    assert status_and_code(api.patch_user(UNKNOWN_ID, if_match="*")) == (404, "USER_NOT_FOUND")
    assert status_and_code(api.delete_user("nobody", if_match=stale)) == (404, "USER_NOT_FOUND")
    assert status_and_code(api.patch_user(cast.sam.id, if_match=stale, email="jo")) == (422, "INVALID_EMAIL_FORMAT")
    weak = make_key(app, UPDATE)
    assert status_and_code(api.patch_user(cast.ada.id, if_match=stale, key=weak)) == (403, "INSUFFICIENT_PERMISSIONS")
    empty_body = api.patch_user(cast.sam.id, if_match=stale)
    assert status_and_code(empty_body) == (412, "PRECONDITION_FAILED")
