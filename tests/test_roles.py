"""An unknown role, given by a newer version: it has no permissions, and to act on its holder takes all."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from support.api import Answer, Api
from support.databases import execute, rows
from support.people import PASSWORD, Cast, as_actor, make_key
from support.visitors import signed_in
from users.actors import Actor, ActorKind
from users.auth import signin
from users.errors import Denied, LastAdministrator
from users.passwords.hashing import WrongPassword
from users.roles import ALL_PERMISSIONS, Permission, Role, needed_to_act_on, permissions_of
from users.services import user_changes
from users.storage.models import User

pytestmark = pytest.mark.one_database

NEWER = "role_newer"


@pytest.fixture
def newer(app: Flask, cast: Cast) -> User:
    """Sam with a role of a newer version."""
    execute(app, "UPDATE users SET global_role_id = :role WHERE id = :id", role=NEWER, id=cast.sam.id)
    return cast.sam


@pytest.mark.parametrize("role", [None, *Role])
def test_needed_to_act_on(role: Role | None) -> None:
    """To act on a user one needs all permissions of the user."""
    assert needed_to_act_on(role) == permissions_of(role)


@pytest.mark.parametrize("role", [NEWER, "", "ROLE_MEMBER", "\0"])
def test_unknown_role(role: str) -> None:
    """It has no permissions, and needs all to act on."""
    assert permissions_of(role) == frozenset()
    assert needed_to_act_on(role) == ALL_PERMISSIONS


NEARLY_ALL = ALL_PERMISSIONS - {Permission.AUDIT_READ}
ACTS: list[tuple[str, str, dict[str, Any] | None]] = [
    ("PATCH", "", {"first_name": "Sam"}),
    ("PATCH", "", {"password": "another password"}),
    ("PATCH", "", {"is_active": False}),
    ("PATCH", "", {"global_role_id": "role_member"}),
    ("POST", "/verification", None),
    ("POST", "/password-link", {}),
    ("DELETE", "/password-link", None),
    ("DELETE", "", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ACTS, ids=str)
def test_key_without_all_permissions(
    app: Flask, api: Api, newer: User, method: str, path: str, body: dict[str, Any] | None
) -> None:
    """It changes nothing."""

    def act(key: str, body: dict[str, Any] | None) -> Answer:
        return api.call(method, f"/v1/user/{newer.id}{path}", key=key, json=body)

    refused = act(make_key(app, *NEARLY_ALL), body)
    assert (refused.status_code, refused.json["error"]["code"]) == (403, "INSUFFICIENT_PERMISSIONS")
    assert rows(app, "SELECT global_role_id FROM users WHERE id = :id", id=newer.id) == [(NEWER,)]
    # With a role from the document, since the tests compare responses with the document.
    assert act(make_key(app, *Permission), body and {**body, "global_role_id": None}).status_code in (200, 201)


def test_password_of_an_unknown_role(app: Flask, api: Api, newer: User) -> None:
    """A key without all permissions cannot try the password."""
    body = {"email": newer.email, "password": PASSWORD}
    answer = api.call("POST", "/v1/user/verify-password", key=make_key(app, *NEARLY_ALL), json=body)
    assert answer.json == {"valid": False}


@pytest.mark.parametrize("act", ["edit", "password", "verify", "verification", "deactivate", "reactivate"])
def test_operator_on_the_pages(app: Flask, cast: Cast, newer: User, act: str) -> None:
    """An operator is offered no change and can make none."""
    omar, ada = signed_in(app, cast.omar), signed_in(app, cast.ada)
    page = omar.get(f"/admin/users/{newer.id}").text
    assert "does not know this user’s role, so only an administrator can change them." in page
    assert f"/admin/users/{newer.id}/" not in page
    if act != "verification":
        assert omar.get(f"/admin/users/{newer.id}/{act}").status_code == 403
        assert ada.get(f"/admin/users/{newer.id}/{act}").status_code == 200
    assert omar.post(f"/admin/users/{newer.id}/{act}", choice="generate").status_code == 403
    assert f"/admin/users/{newer.id}/edit" in ada.get(f"/admin/users/{newer.id}").text


@pytest.mark.parametrize("command", [("deactivate",), ("set-password", "--generate-password")])
def test_command_line_may_do_all(runner: FlaskCliRunner, newer: User, command: tuple[str, ...]) -> None:
    assert runner.invoke(args=["users", command[0], newer.email, *command[1:]]).exit_code == 0


def test_acts_check_permissions(app: Flask, cast: Cast, newer: User) -> None:
    narrow = Actor(ActorKind.TERMINAL, NEARLY_ALL)
    with app.app_context():
        for actor in (narrow, as_actor(app, cast.omar)):
            with pytest.raises(Denied):
                user_changes.set_password(newer.id, "another password", actor=actor)
            with pytest.raises(Denied):
                user_changes.restore_user(newer.id, actor=actor)
        with pytest.raises(WrongPassword):
            signin.verify_password(newer.email, PASSWORD, actor=narrow)
        assert (
            signin.verify_password(newer.email, PASSWORD, actor=Actor(ActorKind.TERMINAL, ALL_PERMISSIONS)).id
            == newer.id
        )


def test_unknown_role_is_no_administrator(app: Flask, cast: Cast, newer: User) -> None:
    """A user of an unknown role has no permissions, so it could not replace the last administrator."""
    with app.app_context():
        with pytest.raises(LastAdministrator):
            user_changes.delete_user(cast.ada.id, actor=as_actor(app, cast.ada))
        user_changes.deactivate_user(newer.id, actor=as_actor(app, cast.ada))
