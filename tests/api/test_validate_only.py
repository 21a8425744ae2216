"""?validate_only=true answers as the create would, and writes nothing."""

from typing import Any

import pytest
from flask import Flask

from support.api import Answer, Api
from support.create_cases import API, CASES, TAKEN, through
from support.databases import everything_stored, execute, rows
from support.error_responses import comparable
from support.people import PASSWORD, make_key, make_user
from users.roles import Permission
from users.services import user_creation

pytestmark = pytest.mark.one_database
BODY = {"email": "jo@example.com", "password": PASSWORD}


def post(api: Api, query: str, **more: Any) -> Answer:
    """Send a create with this query."""
    return api.call("POST", f"/v1/user/?{query}", **{"json": BODY, **more})


@pytest.mark.usefixtures("taken")
@pytest.mark.parametrize(("database_url", "name"), through(API), indirect=["database_url"])
def test_answer_is_that_of_the_real_call(app: Flask, api: Api, name: str) -> None:
    """And nothing is written."""
    case = CASES[name]
    api.get("/v1/user/?limit=1")  # records the key's last use, then skipped for a minute, and the first call
    before = everything_stored(app)
    answer = post(api, "validate_only=true", json=case.members)
    assert everything_stored(app) == before
    real = api.call("POST", "/v1/user/", json=case.members)
    if case.errors:
        assert answer.status_code == real.status_code == (409 if case.errors == (TAKEN,) else 422)
        assert comparable(answer) == comparable(real)
    else:
        assert (answer.status_code, answer.json, real.status_code) == (200, {"valid": True}, 201)
        assert "Location" not in answer.headers


def test_conflict_names_the_user_to_readers(app: Flask, api: Api) -> None:
    user = make_user(app, "jo@example.com")
    assert post(api, "validate_only=true").json["error"]["details"]["user_id"] == user.id
    blind = make_key(app, Permission.USERS_CREATE)
    assert "user_id" not in post(api, "validate_only=true", key=blind).json["error"]["details"]


def test_email_of_a_deleted_user_is_free(app: Flask, api: Api) -> None:
    make_user(app, "jo@example.com")
    execute(app, "UPDATE users SET deleted_at = updated_at")
    assert post(api, "validate_only=true").json == {"valid": True}


def test_no_hash_is_computed(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_creation, "hasher", lambda: pytest.fail("the hasher was asked for"))
    assert post(api, "validate_only=true").json == {"valid": True}


@pytest.mark.parametrize("value", ["true", "True", "TRUE", "1"])
def test_true_in_any_case(api: Api, value: str) -> None:
    assert post(api, f"validate_only={value}").json == {"valid": True}


@pytest.mark.parametrize("value", ["false", "False", "FALSE", "0"])
def test_false_creates_the_user(api: Api, value: str) -> None:
    assert post(api, f"validate_only={value}").status_code == 201


WRONG = ("", " true", "2", "yes", "truе", "%00", "%ff", "true,true")
TWICE = ("true&validate_only=true", "true&validate_only=false", "&validate_only=true")


@pytest.mark.parametrize("query", ["validate_only", *(f"validate_only={value}" for value in (*WRONG, *TWICE))])
def test_wrong_or_repeated_value_is_400(app: Flask, api: Api, query: str) -> None:
    answer = post(api, query)
    assert (answer.status_code, answer.json["error"]["code"]) == (400, "INVALID_PARAMETER")
    assert answer.json["error"]["details"] == {"parameter": "validate_only"}
    assert answer.json["error"]["message"] == "validate_only takes true, false, 1 or 0, once."
    assert rows(app, "SELECT id FROM users") == []


def test_order_of_checks(app: Flask, api: Api) -> None:
    """After the caller, before the body."""
    assert post(api, "validate_only=x", key=None).status_code == 401
    assert post(api, "validate_only=x", key=make_key(app)).status_code == 403
    assert post(api, "validate_only=x", json=[]).json["error"]["code"] == "INVALID_PARAMETER"
    assert post(api, "validate_only=true", json=[]).json["error"]["code"] == "INVALID_JSON"


def test_path_without_slash(app: Flask, api: Api) -> None:
    assert api.call("POST", "/v1/user?validate_only=true", json=BODY).json == {"valid": True}
    assert rows(app, "SELECT id FROM users") == []
