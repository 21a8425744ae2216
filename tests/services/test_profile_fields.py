"""PROFILE_FIELDS: each field that a caller may give is stored, shown and named in the audit trail, at every door."""

import json
import re
from typing import Any

import pytest
from flask import Flask

from support.api import Api
from support.databases import rows
from support.people import Cast, make_key
from support.visitors import signed_in
from users.roles import Permission
from users.rules.validation import ADMIN_FIELDS, CREATE_FIELDS, PROFILE_FIELDS, TEXT_FIELDS

# A new value for the field, and the column that it changes. All other fields take any text.
VALUES: dict[str, Any] = {"email": "new@example.com", "password": "a new password", "is_active": False}
VALUES |= {"global_role_id": "role_auditor", "password_change_required": True}
COLUMNS = {"password": "password_hash"}
NEW = {"email": "jo@example.com", "password": "three random words"}

pytestmark = pytest.mark.one_database


def value_of(name: str) -> Any:
    """Return a value for the field."""
    return VALUES.get(name, f"New {name}")


def stored(app: Flask, name: str, user_id: str) -> Any:
    """Return the field's value in the database."""
    return rows(app, f"SELECT {COLUMNS.get(name, name)} FROM users WHERE id = :id", id=user_id)[0][0]


def audited(app: Flask, user_id: str) -> list[str]:
    """Return the fields that the newest event about the user names."""
    found = rows(app, "SELECT fields FROM audit_events WHERE target_id = :id ORDER BY id DESC", id=user_id)[0][0]
    fields: list[str] = json.loads(found) if isinstance(found, str) else found
    return fields


@pytest.mark.parametrize("name", [field.name for field in PROFILE_FIELDS])
def test_patch_stores(app: Flask, cast: Cast, name: str) -> None:
    api = Api(app.test_client(), make_key(app, *Permission))
    before = stored(app, name, cast.sam.id)
    answer = api.call("PATCH", f"/v1/user/{cast.sam.id}", json={name: value_of(name)})
    assert answer.status_code == 200, answer.json
    assert stored(app, name, cast.sam.id) != before
    assert audited(app, cast.sam.id) == [name]
    shown = api.call("GET", f"/v1/user/{cast.sam.id}").json
    assert shown.get(name) == (None if name.startswith("password") else value_of(name))


def test_api_create_stores(app: Flask, cast: Cast) -> None:
    api = Api(app.test_client(), make_key(app, Permission.USERS_CREATE))
    given = {name: NEW.get(name, value_of(name)) for name in CREATE_FIELDS}
    answer = api.call("POST", "/v1/user/", json=given).json
    del given["password"]
    assert {name: answer[name] for name in given} == given
    assert set(audited(app, answer["id"])) == set(CREATE_FIELDS)


def test_form_and_edit_page_store(app: Flask, cast: Cast) -> None:
    visitor = signed_in(app, cast.ada)
    given = {name: NEW.get(name, value_of(name)) for name in ADMIN_FIELDS}
    assert visitor.create(**given).status_code == 303
    ((user_id,),) = rows(app, "SELECT id FROM users WHERE email = :email", email=NEW["email"])
    assert set(audited(app, user_id)) == set(given)
    for field in TEXT_FIELDS:
        assert stored(app, field.name, user_id) == given[field.name]
        path = f"/admin/users/{user_id}/edit"
        seen = dict(re.findall(r'name="was-(\w+)" value="([^"]*)"', visitor.get(path).text))
        were = {f"was-{name}": value for name, value in seen.items()}
        assert visitor.post(path, **were, **{**seen, field.name: "Other"}).status_code == 303
        assert stored(app, field.name, user_id) == "Other"
        assert audited(app, user_id) == [field.name]


def test_command_stores(app: Flask, cast: Cast) -> None:
    options = [f"--{field.name.replace('_', '-')}={value_of(field.name)}" for field in TEXT_FIELDS]
    command = ["users", "create", *options, "--generate-password", NEW["email"]]
    assert app.test_cli_runner().invoke(args=command).exit_code == 0
    ((user_id,),) = rows(app, "SELECT id FROM users WHERE email = :email", email=NEW["email"])
    assert [stored(app, field.name, user_id) for field in TEXT_FIELDS] == [value_of(one.name) for one in TEXT_FIELDS]
    changes = [f"--{field.name.replace('_', '-')}=Other" for field in TEXT_FIELDS]
    assert app.test_cli_runner().invoke(args=["users", "update", user_id, *changes]).exit_code == 0
    assert {stored(app, field.name, user_id) for field in TEXT_FIELDS} == {"Other"}
    assert audited(app, user_id) == [field.name for field in TEXT_FIELDS]
