"""The API changes and deletes users."""

from typing import Any

import pytest
from flask import Flask

from support.api import USER_FIELDS, Answer, Api, status_and_code
from support.databases import execute, rows
from support.people import PASSWORD, UNKNOWN_ID, Cast, make_key, make_user
from users.actors import terminal
from users.roles import Permission, Role
from users.services import user_changes

UPDATE, DELETE = Permission.USERS_UPDATE, Permission.USERS_DELETE


@pytest.fixture
def api(app: Flask) -> Api:
    """A caller whose service key may do everything."""
    return Api(app.test_client(), make_key(app, *Permission))


def errors(answer: Answer) -> list[tuple[str, str, str]]:
    """Return the errors of the fields."""
    return [(one["field"], one["code"], one["message"]) for one in answer.json["error"]["details"]["errors"]]


CHANGES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"first_name": "Jo", "last_name": " Doe "}, {"first_name": "Jo", "last_name": "Doe"}),
    ({"first_name": None, "last_name": ""}, {"first_name": None, "last_name": None}),
    ({"email": " Jo@EXAMPLE.com "}, {"email": "Jo@example.com", "last_verified": None}),
    ({"email": "Sam@EXAMPLE.com"}, {"email": "Sam@example.com"}),  # another spelling, which stays verified
    ({"is_active": False}, {"is_active": False}),
    ({"global_role_id": "role_auditor"}, {"global_role_id": "role_auditor"}),
    ({"global_role_id": None}, {"global_role_id": None}),
    ({"password": "another password"}, {}),
    ({"password_change_required": True}, {}),
    ({}, {}),
]


@pytest.mark.parametrize(("given", "changed"), CHANGES, ids=str)
def test_only_named_members_change(app: Flask, api: Api, given: dict[str, Any], changed: dict[str, Any]) -> None:
    user = make_user(app, "sam@example.com", Role.MEMBER, first_name="Sam", last_name="Stranger")
    with app.app_context():
        verified = user_changes.verify_user(user.id, actor=terminal("req_test00000000")).as_user()
    answer = api.patch_user(user.id, **given)
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
    ({"password_change_required": None}, [("password_change_required", "INVALID_TYPE")]),
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
def test_all_errors_at_once(api: Api, cast: Cast, given: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    """And nothing is changed."""
    answer = api.patch_user(cast.sam.id, **given)
    assert answer.status_code == 422
    assert [one[:2] for one in errors(answer)] == expected
    assert api.get(f"/v1/user/{cast.sam.id}").json == cast.sam.as_profile()


def test_errors_are_those_of_a_create(api: Api, cast: Cast) -> None:
    given = {"email": "jo@localhost", "first_name": "x" * 256, "password": "short", "emial": ""}
    created = {one[0]: one for one in errors(api.create(**given))}
    patched = {one[0]: one for one in errors(api.patch_user(cast.sam.id, **given))}
    assert created == patched
    assert errors(api.patch_user(cast.sam.id, is_active="x", isactive=True)) == [
        ("is_active", "INVALID_TYPE", "Active must be true or false (a JSON boolean)"),
        ("isactive", "UNKNOWN_FIELD", 'Unknown field "isactive". Did you mean "is_active"?'),
    ]


def test_new_password(app: Flask, api: Api, cast: Cast) -> None:
    assert api.patch_user(cast.sam.id, password="another password").status_code == 200
    for password, valid in ((PASSWORD, False), ("another password", True)):
        body = {"email": cast.sam.email, "password": password}
        assert api.call("POST", "/v1/user/verify-password", json=body).json["valid"] is valid


def test_taken_email_is_409(app: Flask, api: Api, cast: Cast) -> None:
    answer = api.patch_user(cast.sam.id, email="OMAR@example.com")
    assert status_and_code(answer) == (409, "USER_ALREADY_EXISTS")
    assert errors(answer) == [("email", "USER_ALREADY_EXISTS", "A user with this email address already exists")]
    assert answer.json["error"]["details"]["user_id"] == cast.omar.id
    blind = api.patch_user(cast.sam.id, email="OMAR@example.com", key=make_key(app, UPDATE))
    assert "user_id" not in blind.json["error"]["details"]


def test_delete(api: Api, cast: Cast) -> None:
    """The email is free again."""
    answer = api.delete_user(cast.sam.id)
    assert answer.status_code == 200
    assert answer.json == {"success": True, "message": "The user was deleted.", "user_id": cast.sam.id}
    for again in (api.delete_user(cast.sam.id), api.patch_user(cast.sam.id), api.get(f"/v1/user/{cast.sam.id}")):
        assert status_and_code(again) == (404, "USER_NOT_FOUND")
    assert [user["id"] for user in api.get("/v1/user/deleted").json] == [cast.sam.id]
    assert api.create(email="SAM@example.com").status_code == 201


def test_restore(app: Flask, api: Api, cast: Cast) -> None:
    """The answer is the user, deactivated; the same request again changes nothing."""
    path = f"/v1/user/{cast.sam.id}/restore"
    api.delete_user(cast.sam.id)
    answer = api.call("POST", path)
    assert answer.status_code == 200
    assert {**answer.json, "updated_at": ""} == {**cast.sam.as_user(), "is_active": False, "updated_at": ""}
    profile = api.get(f"/v1/user/{cast.sam.id}")
    assert profile.headers["ETag"] == answer.headers["ETag"]
    assert api.get("/v1/user/deleted").json == []
    again = api.call("POST", f"{path}/", json={})
    assert (again.status_code, again.json, again.headers["ETag"]) == (200, answer.json, answer.headers["ETag"])
    assert api.patch_user(cast.sam.id, is_active=True).json["is_active"] is True
    assert status_and_code(api.call("POST", f"/v1/user/{UNKNOWN_ID}/restore")) == (404, "USER_NOT_FOUND")


def test_restore_of_a_taken_email_is_409(app: Flask, api: Api, cast: Cast) -> None:
    """It says by whom it is taken, as a create does."""
    api.delete_user(cast.sam.id)
    holder = api.create(email="SAM@example.com").json["id"]
    path = f"/v1/user/{cast.sam.id}/restore"
    answer = api.call("POST", path)
    assert status_and_code(answer) == (409, "USER_ALREADY_EXISTS")
    assert answer.json["error"]["details"] == api.create(email="sam@example.com").json["error"]["details"]
    assert answer.json["error"]["details"]["user_id"] == holder
    assert "user_id" not in api.call("POST", path, key=make_key(app, DELETE)).json["error"]["details"]


def test_last_administrator_is_409(api: Api, cast: Cast) -> None:
    for answer in (
        api.delete_user(cast.ada.id),
        api.patch_user(cast.ada.id, is_active=False),
        api.patch_user(cast.ada.id, global_role_id=None),
        api.patch_user(cast.ada.id, global_role_id="role_operator", email="new@example.com"),
    ):
        assert status_and_code(answer) == (409, "LAST_ADMINISTRATOR")
    assert api.get(f"/v1/user/{cast.ada.id}").json == cast.ada.as_profile()


def test_changing_needs_the_permission(app: Flask, api: Api, cast: Cast) -> None:
    for permission, method, path in (
        (UPDATE, "PATCH", ""),
        (DELETE, "POST", "/restore"),
        (DELETE, "DELETE", ""),
        (UPDATE, "POST", "/verification"),
        (UPDATE, "POST", "/password-link"),
        (UPDATE, "DELETE", "/password-link"),
    ):
        others = make_key(app, *(one for one in Permission if one != permission))
        for key, status in ((None, 401), (others, 403)):
            answer = api.call(method, f"/v1/user/{cast.sam.id}{path}", key=key, data=b"{")
            assert answer.status_code == status
        assert permission in answer.headers["WWW-Authenticate"]
        key = make_key(app, permission)
        assert api.call(method, f"/v1/user/{cast.sam.id}{path}", key=key, json={}).status_code in (200, 201, 404)


def test_assigning_a_role_needs_the_permission(app: Flask, api: Api, cast: Cast) -> None:
    key = make_key(app, Permission.USERS_UPDATE, owner=cast.omar)
    answer = api.patch_user(cast.sam.id, key=key, global_role_id="role_member")
    assert status_and_code(answer) == (403, "INSUFFICIENT_PERMISSIONS")
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope", scope="roles:assign"'
    assert api.patch_user(cast.sam.id, key=key, global_role_id=None).status_code == 200  # as it is
    assert status_and_code(api.patch_user(cast.ada.id, key=key, first_name="A.")) == (403, "INSUFFICIENT_PERMISSIONS")


def test_empty_body_changes_nothing(app: Flask, api: Api, cast: Cast) -> None:
    before = rows(app, "SELECT count(*) FROM audit_events")
    answer = api.patch_user(cast.sam.id)
    assert answer.status_code == 200
    assert answer.json == cast.sam.as_user()
    assert rows(app, "SELECT count(*) FROM audit_events") == before
    assert api.call("PATCH", f"/v1/user/{cast.sam.id}").status_code == 415  # no body at all


def test_actor_is_audited(app: Flask, api: Api, cast: Cast) -> None:
    key = make_key(app, UPDATE, owner=cast.omar)
    answer = api.patch_user(cast.sam.id, key=key, first_name="Sam")
    (row,) = rows(app, "SELECT * FROM audit_events WHERE action = 'user.update'")
    assert (row.actor_kind, row.actor_user_id, row.target_id) == ("key", cast.omar.id, cast.sam.id)
    assert (row.outcome, row.request_id) == ("ok", answer.headers["X-Request-Id"])


def test_key_stops_with_its_owner(app: Flask, api: Api, cast: Cast) -> None:
    key = make_key(app, UPDATE, owner=cast.omar)
    assert api.patch_user(cast.omar.id, is_active=False).status_code == 200
    assert status_and_code(api.patch_user(cast.sam.id, key=key)) == (401, "API_KEY_DEACTIVATED")
    assert api.patch_user(cast.omar.id, is_active=True).status_code == 200
    assert api.patch_user(cast.sam.id, key=key).status_code == 200
    assert api.delete_user(cast.omar.id).status_code == 200
    assert status_and_code(api.patch_user(cast.sam.id, key=key)) == (401, "API_KEY_DEACTIVATED")


def test_unknown_role_can_be_replaced(app: Flask, api: Api, cast: Cast) -> None:
    """A role that the code no longer knows."""
    execute(app, "UPDATE users SET global_role_id = 'role_unheard_of' WHERE id = :id", id=cast.sam.id)
    assert api.patch_user(cast.sam.id, global_role_id="role_member").json["global_role_id"] == "role_member"


def test_unchanged_email_may_be_reserved(app: Flask, api: Api, cast: Cast) -> None:
    """The domain was allowed when the user was created."""
    execute(
        app, "UPDATE users SET email = 'sam@corp.local', email_key = 'sam@corp.local' WHERE id = :id", id=cast.sam.id
    )
    seen = api.get(f"/v1/user/{cast.sam.id}").json
    answer = api.patch_user(cast.sam.id, email=seen["email"], first_name="Sam")
    assert (answer.status_code, answer.json["email"], answer.json["first_name"]) == (200, "sam@corp.local", "Sam")
    answer = api.patch_user(cast.sam.id, email="jo@corp.local", first_name="Jo")
    assert status_and_code(answer) == (422, "EMAIL_DOMAIN_RESERVED")
    assert api.patch_user(cast.omar.id, email="sam@corp.local").status_code == 422
