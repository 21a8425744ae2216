"""The API changes, deletes and verifies users, if they still are as the caller has seen them."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from support.api import USER_FIELDS, Answer, Api
from support.databases import execute, rows
from support.people import PASSWORD, UNKNOWN_ID, Cast, make_key, make_user
from users.actors import terminal
from users.roles import Permission, Role
from users.services import user_changes
from users.storage.models import User

UPDATE, DELETE = Permission.USERS_UPDATE, Permission.USERS_DELETE


@pytest.fixture
def api(app: Flask) -> Api:
    """A caller whose service key may do everything."""
    return Api(app.test_client(), make_key(app, *Permission))


def patch(api: Api, user_id: str, *, if_match: str | None = None, key: str | None = "own", **given: Any) -> Answer:
    """Change a user."""
    headers = {"If-Match": if_match} if if_match is not None else {}
    return api.call("PATCH", f"/v1/user/{user_id}", json=given, headers=headers, key=key)


def delete(api: Api, user_id: str, *, if_match: str | None = None, key: str | None = "own") -> Answer:
    """Delete a user."""
    headers = {"If-Match": if_match} if if_match is not None else {}
    return api.call("DELETE", f"/v1/user/{user_id}", headers=headers, key=key)


def code(answer: Answer) -> tuple[int, str]:
    """Return status and code of an error."""
    return answer.status_code, answer.json["error"]["code"]


def errors(answer: Answer) -> list[tuple[str, str, str]]:
    """Return the errors of the fields."""
    return [(one["field"], one["code"], one["message"]) for one in answer.json["error"]["details"]["errors"]]


CHANGES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"first_name": "Jo", "last_name": " Doe "}, {"first_name": "Jo", "last_name": "Doe"}),
    ({"first_name": None, "last_name": ""}, {"first_name": None, "last_name": None}),
    ({"email": " Jo@EXAMPLE.com "}, {"email": "Jo@example.com", "last_verified": None}),
    ({"is_active": False}, {"is_active": False}),
    ({"global_role_id": "role_auditor"}, {"global_role_id": "role_auditor"}),
    ({"global_role_id": None}, {"global_role_id": None}),
    ({"password": "another password"}, {}),
    ({}, {}),
]


@pytest.mark.parametrize(("given", "changed"), CHANGES, ids=str)
def test_what_the_body_names_is_changed_and_nothing_else(
    app: Flask, api: Api, given: dict[str, Any], changed: dict[str, Any]
) -> None:
    user = make_user(app, "sam@example.com", Role.MEMBER, first_name="Sam", last_name="Stranger")
    with app.app_context():
        verified = user_changes.verify_user(user.id, actor=terminal("req_test00000000")).as_user()
    answer = patch(api, user.id, **given)
    assert answer.status_code == 200
    assert list(answer.json) == USER_FIELDS
    assert {**answer.json, "updated_at": ""} == {**verified, **changed, "updated_at": ""}
    profile = api.get(f"/v1/user/{user.id}")
    assert {**profile.json, **answer.json} == profile.json
    assert profile.headers["ETag"] == answer.headers["ETag"]


REFUSED: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    ({"email": None}, [("email", "REQUIRED_FIELD")]),
    ({"email": ""}, [("email", "REQUIRED_FIELD")]),
    ({"email": "jo"}, [("email", "INVALID_EMAIL_FORMAT")]),
    ({"email": "jo@example.test"}, [("email", "EMAIL_DOMAIN_RESERVED")]),
    ({"password": None}, [("password", "REQUIRED_FIELD")]),
    ({"password": "short"}, [("password", "PASSWORD_TOO_SHORT")]),
    ({"is_active": None}, [("is_active", "INVALID_TYPE")]),
    ({"is_active": 1}, [("is_active", "INVALID_TYPE")]),
    ({"is_active": "false"}, [("is_active", "INVALID_TYPE")]),
    ({"global_role_id": "role_emperor"}, [("global_role_id", "INVALID_ROLE")]),
    ({"global_role_id": ["role_admin"]}, [("global_role_id", "INVALID_TYPE")]),
    ({"global_role_id": 5}, [("global_role_id", "INVALID_TYPE")]),
    ({"first_name": 5}, [("first_name", "INVALID_TYPE")]),
    ({"id": UNKNOWN_ID}, [("id", "UNKNOWN_FIELD")]),
    (
        {"isActive": True, "first_name": "a\nb", "password": "short", "is_active": "no", "email": "jo"},
        [
            ("email", "INVALID_EMAIL_FORMAT"),
            ("first_name", "INVALID_CHARACTERS"),
            ("password", "PASSWORD_TOO_SHORT"),
            ("is_active", "INVALID_TYPE"),
            ("isActive", "UNKNOWN_FIELD"),
        ],
    ),
]


@pytest.mark.one_database
@pytest.mark.parametrize(("given", "expected"), REFUSED, ids=str)
def test_all_that_is_wrong_is_told_at_once_and_nothing_changed(
    api: Api, cast: Cast, given: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    answer = patch(api, cast.sam.id, **given)
    assert answer.status_code == 422
    assert [one[:2] for one in errors(answer)] == expected
    assert api.get(f"/v1/user/{cast.sam.id}").json == cast.sam.as_profile()


def test_the_words_are_those_of_a_create(api: Api, cast: Cast) -> None:
    given = {"email": "jo@localhost", "first_name": "x" * 256, "password": "short", "emial": ""}
    created, patched = (
        {one[0]: one for one in errors(answer)} for answer in (api.create(**given), patch(api, cast.sam.id, **given))
    )
    assert created == patched
    assert errors(patch(api, cast.sam.id, is_active="x", isactive=True)) == [
        ("is_active", "INVALID_TYPE", "Active must be true or false (a JSON boolean)"),
        ("isactive", "UNKNOWN_FIELD", 'Unknown field "isactive". Did you mean "is_active"?'),
    ]


def test_a_new_password_is_the_one_that_counts(app: Flask, api: Api, cast: Cast) -> None:
    assert patch(api, cast.sam.id, password="another password").status_code == 200
    for password, valid in ((PASSWORD, False), ("another password", True)):
        body = {"email": cast.sam.email, "password": password}
        assert api.call("POST", "/v1/user/verify-password", json=body).json["valid"] is valid


def test_an_email_that_is_taken_is_409(app: Flask, api: Api, cast: Cast) -> None:
    answer = patch(api, cast.sam.id, email="OMAR@example.com")
    assert code(answer) == (409, "USER_ALREADY_EXISTS")
    assert errors(answer) == [("email", "USER_ALREADY_EXISTS", "A user with this email address already exists")]
    assert answer.json["error"]["details"]["user_id"] == cast.omar.id
    blind = patch(api, cast.sam.id, email="OMAR@example.com", key=make_key(app, UPDATE))
    assert "user_id" not in blind.json["error"]["details"]


def test_a_delete_says_who_was_deleted_and_frees_the_email(api: Api, cast: Cast) -> None:
    answer = delete(api, cast.sam.id)
    assert answer.status_code == 200
    assert answer.json == {"success": True, "message": "The user was deleted.", "user_id": cast.sam.id}
    for again in (delete(api, cast.sam.id), patch(api, cast.sam.id), api.get(f"/v1/user/{cast.sam.id}")):
        assert code(again) == (404, "USER_NOT_FOUND")
    assert [user["id"] for user in api.get("/v1/user/deleted").json] == [cast.sam.id]
    assert api.create(email="SAM@example.com").status_code == 201


def test_the_last_administrator_is_409(api: Api, cast: Cast) -> None:
    for answer in (
        delete(api, cast.ada.id),
        patch(api, cast.ada.id, is_active=False),
        patch(api, cast.ada.id, global_role_id=None),
        patch(api, cast.ada.id, global_role_id="role_operator", email="new@example.com"),
    ):
        assert code(answer) == (409, "LAST_ADMINISTRATOR")
    assert api.get(f"/v1/user/{cast.ada.id}").json == cast.ada.as_profile()


def test_changing_takes_the_permission_to(app: Flask, api: Api, cast: Cast) -> None:
    for permission, method, path in (
        (UPDATE, "PATCH", ""),
        (DELETE, "DELETE", ""),
        (UPDATE, "POST", "/verification"),
    ):
        others = make_key(app, *(one for one in Permission if one != permission))
        for key, status in ((None, 401), (others, 403)):
            answer = api.call(method, f"/v1/user/{cast.sam.id}{path}", key=key, data=b"{")
            assert answer.status_code == status
        assert permission in answer.headers["WWW-Authenticate"]
        key = make_key(app, permission)
        assert api.call(method, f"/v1/user/{cast.sam.id}{path}", key=key, json={}).status_code in (200, 201, 404)


def test_a_role_takes_the_permission_to_assign_it(app: Flask, api: Api, cast: Cast) -> None:
    key = make_key(app, Permission.USERS_UPDATE, owner=cast.omar)
    answer = patch(api, cast.sam.id, key=key, global_role_id="role_member")
    assert code(answer) == (403, "INSUFFICIENT_PERMISSIONS")
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope", scope="roles:assign"'
    assert patch(api, cast.sam.id, key=key, global_role_id=None).status_code == 200  # as it is
    assert code(patch(api, cast.ada.id, key=key, first_name="A.")) == (403, "INSUFFICIENT_PERMISSIONS")


def tag(api: Api, user: User) -> str:
    """Return the user's entity tag."""
    found: str = api.get(f"/v1/user/{user.id}").headers["ETag"]
    return found


def test_the_tag_changes_with_all_that_is_shown(app: Flask, api: Api, cast: Cast) -> None:
    seen = [tag(api, cast.sam)]
    sign_in = {"email": "sam@example.com", "password": "another password"}
    acts: list[Callable[[], Answer]] = [
        lambda: patch(api, cast.sam.id, first_name="Sam"),
        lambda: patch(api, cast.sam.id, password="another password"),
        lambda: api.call("POST", "/v1/user/verify-password", json=sign_in),  # last_login
        lambda: patch(api, cast.sam.id, is_active=False),
    ]
    for act in acts:
        assert act().status_code == 200
        seen.append(tag(api, cast.sam))
    assert len(set(seen)) == len(seen)
    for act in (lambda: patch(api, cast.sam.id, is_active=False), lambda: delete(api, UNKNOWN_ID)):
        act()
        assert tag(api, cast.sam) == seen[-1]


def test_a_create_tells_the_tag_and_tells_it_again(api: Api) -> None:
    body = {"email": "jo@example.com", "password": PASSWORD}
    headers = {"Idempotency-Key": "one"}
    first = api.call("POST", "/v1/user/", json=body, headers=headers)
    user_id = first.json["id"]
    assert first.headers["ETag"] == api.get(f"/v1/user/{user_id}").headers["ETag"]
    assert api.create(email="other@example.com").headers["ETag"]
    assert patch(api, user_id, first_name="Jo").status_code == 200
    again = api.call("POST", "/v1/user/", json=body, headers=headers)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["ETag"] == first.headers["ETag"]
    assert patch(api, user_id, first_name="Joe", if_match=again.headers["ETag"]).status_code == 412


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
def test_a_change_is_made_only_where_the_tag_fits(api: Api, cast: Cast, header: str, fits: bool) -> None:
    given = header.format(tag(api, cast.sam))
    answer = patch(api, cast.sam.id, first_name="Sam", if_match=given)
    if not fits:
        assert code(answer) == (412, "PRECONDITION_FAILED")
        assert code(delete(api, cast.sam.id, if_match=given)) == (412, "PRECONDITION_FAILED")
        assert api.get(f"/v1/user/{cast.sam.id}").json == cast.sam.as_profile()
        return
    assert answer.status_code == 200
    if "{}" in header:
        assert code(delete(api, cast.sam.id, if_match=given)) == (412, "PRECONDITION_FAILED")
    assert delete(api, cast.sam.id, if_match=header.format(answer.headers["ETag"])).status_code == 200


MALFORMED = ["", "abc", '"abc', 'abc"', '"a" "b"', '"a";"b"', '*, "a"', 'w/"a"', 'W/ "a"', "W/*", ",", "'a'", '"a b"']


@pytest.mark.one_database
@pytest.mark.parametrize("header", [*MALFORMED, '"a", ' + " , " * 3000 + "b"])
def test_what_is_no_list_of_tags_stops_the_act(api: Api, cast: Cast, header: str) -> None:
    for answer in (
        patch(api, cast.sam.id, first_name="Sam", if_match=header),
        delete(api, cast.sam.id, if_match=header),
    ):
        assert code(answer) == (400, "INVALID_PARAMETER")
        assert answer.json["error"]["details"] == {"parameter": "If-Match"}
    assert api.get(f"/v1/user/{cast.sam.id}").json == cast.sam.as_profile()


def test_a_precondition_is_judged_last(app: Flask, api: Api, cast: Cast) -> None:
    """RFC 9110, 13.2.1: it does not matter where the request would fail without it."""
    stale = '"other"'
    assert code(patch(api, UNKNOWN_ID, if_match=stale)) == (404, "USER_NOT_FOUND")
    assert code(patch(api, UNKNOWN_ID, if_match="*")) == (404, "USER_NOT_FOUND")
    assert code(delete(api, "nobody", if_match=stale)) == (404, "USER_NOT_FOUND")
    assert code(patch(api, cast.sam.id, if_match=stale, email="jo")) == (422, "INVALID_EMAIL_FORMAT")
    weak = make_key(app, UPDATE)
    assert code(patch(api, cast.ada.id, if_match=stale, key=weak)) == (403, "INSUFFICIENT_PERMISSIONS")
    assert code(patch(api, cast.sam.id, if_match=stale)) == (412, "PRECONDITION_FAILED")  # with an empty body too


def test_an_empty_body_changes_nothing(app: Flask, api: Api, cast: Cast) -> None:
    before = rows(app, "SELECT count(*) FROM audit_events")
    answer = patch(api, cast.sam.id)
    assert answer.status_code == 200
    assert answer.json == cast.sam.as_user()
    assert rows(app, "SELECT count(*) FROM audit_events") == before
    assert api.call("PATCH", f"/v1/user/{cast.sam.id}").status_code == 415  # no body at all


def test_who_acted_is_on_record(app: Flask, api: Api, cast: Cast) -> None:
    key = make_key(app, UPDATE, owner=cast.omar)
    answer = patch(api, cast.sam.id, key=key, first_name="Sam")
    (row,) = rows(app, "SELECT * FROM audit_events WHERE action = 'user.update'")
    assert (row.actor_kind, row.actor_user_id, row.target_id) == ("key", cast.omar.id, cast.sam.id)
    assert (row.outcome, row.request_id) == ("ok", answer.headers["X-Request-Id"])


def test_a_key_stops_with_its_owner(app: Flask, api: Api, cast: Cast) -> None:
    key = make_key(app, UPDATE, owner=cast.omar)
    assert patch(api, cast.omar.id, is_active=False).status_code == 200
    assert code(patch(api, cast.sam.id, key=key)) == (401, "API_KEY_DEACTIVATED")
    assert patch(api, cast.omar.id, is_active=True).status_code == 200
    assert patch(api, cast.sam.id, key=key).status_code == 200
    assert delete(api, cast.omar.id).status_code == 200
    assert code(patch(api, cast.sam.id, key=key)) == (401, "API_KEY_DEACTIVATED")


def test_a_user_made_by_hand_with_a_role_of_old_can_be_given_another(app: Flask, api: Api, cast: Cast) -> None:
    execute(app, "UPDATE users SET global_role_id = 'role_unheard_of' WHERE id = :id", id=cast.sam.id)
    assert patch(api, cast.sam.id, global_role_id="role_member").json["global_role_id"] == "role_member"


def test_a_change_may_repeat_an_email_whose_domain_is_reserved_by_now(app: Flask, api: Api, cast: Cast) -> None:
    execute(
        app, "UPDATE users SET email = 'sam@corp.local', email_key = 'sam@corp.local' WHERE id = :id", id=cast.sam.id
    )
    seen = api.get(f"/v1/user/{cast.sam.id}").json
    answer = patch(api, cast.sam.id, email=seen["email"], first_name="Sam")
    assert (answer.status_code, answer.json["email"], answer.json["first_name"]) == (200, "sam@corp.local", "Sam")
    answer = patch(api, cast.sam.id, email="jo@corp.local", first_name="Jo")
    assert code(answer) == (422, "EMAIL_DOMAIN_RESERVED")
    assert patch(api, cast.omar.id, email="sam@corp.local").status_code == 422
