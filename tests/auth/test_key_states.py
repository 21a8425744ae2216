"""The state of an API key: one table, and the page, the command and the API agree."""

import json
import re
from datetime import timedelta

import pytest
from flask import Flask

from support.api import Api
from support.databases import execute, rows
from support.page_forms import key_names_on
from support.people import Cast, make_key
from support.visitors import Visitor
from users import clock
from users.auth.key_states import KeyState, state_of
from users.roles import Permission
from users.storage.models import ApiKey

NOW = clock.now()
AGO, AHEAD = NOW - timedelta(seconds=1), NOW + timedelta(days=1)


@pytest.mark.parametrize(
    ("owner_is_active", "deactivated_at", "expires_at", "state"),
    [
        (None, None, None, KeyState.ACTIVE),
        (None, None, AHEAD, KeyState.ACTIVE),
        (None, None, AGO, KeyState.EXPIRED),
        (None, AGO, None, KeyState.REVOKED),
        (None, AGO, AGO, KeyState.REVOKED),
        (True, None, None, KeyState.ACTIVE),
        (True, None, AGO, KeyState.EXPIRED),
        (True, AGO, AHEAD, KeyState.REVOKED),
        (False, None, None, KeyState.STOPPED),
        (False, None, AHEAD, KeyState.STOPPED),
        (False, None, AGO, KeyState.STOPPED),
        (False, AGO, None, KeyState.REVOKED),
    ],
)
def test_state_of(owner_is_active: bool | None, deactivated_at: object, expires_at: object, state: KeyState) -> None:
    """A key without an owner, as in the first rows, is a service key."""
    owner_id = None if owner_is_active is None else "usr_1"
    key = ApiKey(owner_id=owner_id, deactivated_at=deactivated_at, expires_at=expires_at)
    assert state_of(key, owner_is_active=bool(owner_is_active)) == state


def test_expiry_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    key = ApiKey(expires_at=NOW)
    monkeypatch.setattr(clock, "now", lambda: NOW - timedelta(microseconds=1))
    assert state_of(key, owner_is_active=False) == KeyState.ACTIVE
    monkeypatch.setattr(clock, "now", lambda: NOW)
    assert state_of(key, owner_is_active=False) == KeyState.EXPIRED


def test_page_command_and_api_agree(app: Flask, ada: Visitor, cast: Cast) -> None:
    secrets = {name: make_key(app, *Permission, name=name) for name in ("active", "expired", "revoked")}
    secrets |= {"stopped": make_key(app, *Permission, name="stopped", owner=cast.sam)}
    execute(app, "UPDATE api_keys SET expires_at = created_at WHERE name = 'expired'")
    execute(app, "UPDATE api_keys SET deactivated_at = created_at WHERE name = 'revoked'")
    execute(app, "UPDATE users SET is_active = false WHERE id = :id", id=cast.sam.id)
    for path, names in (("/admin/keys", ["stopped", "active"]), ("/admin/keys?state=ended", ["revoked", "expired"])):
        page = ada.get(path).text
        assert key_names_on(page) == names
        assert re.findall(r'<span class="tag[^"]*">(\w+)<', page) == [name.capitalize() for name in names]
    ids = {name: rows(app, "SELECT id FROM api_keys WHERE name = :name", name=name)[0][0] for name in secrets}
    tags = {
        name: re.findall(r'<span class="tag[^"]*">(\w+)<', ada.get(f"/admin/keys/{ids[name]}").text) for name in ids
    }
    assert tags == {name: [name.capitalize()] for name in ids}
    listed = app.test_cli_runner().invoke(args=["keys", "list"]).stdout.splitlines()[1:]
    assert {line.split()[0]: line.split()[-1] for line in listed} == {ids[name]: name for name in secrets}
    as_json = json.loads(app.test_cli_runner().invoke(args=["keys", "list", "--json"]).stdout)
    assert {key["id"]: key["state"] for key in as_json} == {ids[name]: name for name in secrets}
    rolled = {name: app.test_cli_runner().invoke(args=["keys", "roll", ids[name]]).exit_code for name in secrets}
    assert rolled == {name: 0 if name == "active" else 3 for name in secrets}
    codes = {name: Api(app.test_client(), key).get("/v1/user/").json for name, key in secrets.items()}
    assert isinstance(codes.pop("active"), list)
    assert {name: answer["error"]["code"] for name, answer in codes.items()} == {
        "expired": "API_KEY_EXPIRED",
        "revoked": "API_KEY_DEACTIVATED",
        "stopped": "API_KEY_DEACTIVATED",
    }
