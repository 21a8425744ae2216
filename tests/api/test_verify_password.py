"""Another application verifies passwords: each failure has one answer, after the same work, and a limit."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask
from sqlalchemy import event

from support.api import USER_FIELDS, Answer, Api
from support.databases import execute, rows
from support.people import PASSWORD, Cast, make_key, make_user
from support.visitors import Visitor
from users import clock
from users.passwords import argon2id
from users.passwords.hashing import PasswordPlace
from users.roles import Permission, Role
from users.storage.models import db

pytestmark = pytest.mark.one_database

PATH = "/v1/user/verify-password"
VERIFY = Permission.USERS_VERIFY


@pytest.fixture
def api(app: Flask) -> Api:
    """A caller whose service key may check passwords and do nothing else."""
    return Api(app.test_client(), make_key(app, VERIFY))


def verify(api: Api, email: Any = "sam@example.com", password: Any = PASSWORD, *, key: str | None = "own") -> Answer:
    """Ask whether the password is the user's."""
    return api.call("POST", PATH, json={"email": email, "password": password}, key=key)


def trail(app: Flask) -> list[tuple[Any, ...]]:
    """Return the audit events of verified passwords."""
    found = rows(
        app,
        "SELECT outcome, actor_kind, actor_key_id IS NOT NULL, target_id FROM audit_events"
        " WHERE action = 'user.verify_password' ORDER BY id",
    )
    return [(row[0], row[1], bool(row[2]), row[3]) for row in found]


def test_user_who_must_change(app: Flask, api: Api, cast: Cast) -> None:
    """The answer says so before the user, to a right password only and until it is no more so."""
    execute(app, "UPDATE users SET password_change_required = true WHERE id = :id", id=cast.sam.id)
    answer = verify(api)
    assert list(answer.json) == ["valid", "password_change_required", "user"]
    assert answer.json == {"valid": True, "password_change_required": True, "user": cast.sam.as_user()}
    assert verify(api, password="wrong horse battery").json == {"valid": False}
    key = make_key(app, Permission.USERS_UPDATE)
    assert api.patch_user(cast.sam.id, key=key, password_change_required=False).status_code == 200
    assert list(verify(api).json) == ["valid", "user"]


def test_user_without_a_password(app: Flask, api: Api) -> None:
    invited = api.invite(key=make_key(app, Permission.USERS_CREATE)).json["user"]
    for password in (PASSWORD, "x", " "):
        assert verify(api, "jo@example.com", password).json == {"valid": False}
    assert trail(app) == [("refused", "key", True, invited["id"])] * 3


def test_right_password_gets_the_user(app: Flask, api: Api, cast: Cast) -> None:
    answer = verify(api)
    assert answer.status_code == 200
    assert list(answer.json) == ["valid", "user"]
    assert list(answer.json["user"]) == USER_FIELDS
    assert answer.json == {"valid": True, "user": cast.sam.as_user()}
    assert trail(app) == [("ok", "key", True, cast.sam.id)]
    profile = api.get(f"/v1/user/{cast.sam.id}", key=make_key(app, Permission.USERS_READ)).json
    assert profile["last_login"]
    assert profile["updated_at"] == answer.json["user"]["updated_at"]


@pytest.mark.parametrize("spelling", ["SAM@EXAMPLE.com", " sam@example.com ", "ｓａｍ@example.com"])
def test_email_in_any_spelling(api: Api, cast: Cast, spelling: str) -> None:
    assert verify(api, spelling).json["valid"] is True


@pytest.fixture
def all_states(app: Flask, cast: Cast) -> Cast:
    """The cast, a deactivated user and a deleted user."""
    for name in ("stopped", "deleted"):
        make_user(app, f"{name}@example.com")
    execute(app, "UPDATE users SET is_active = false WHERE email = 'stopped@example.com'")
    execute(app, "UPDATE users SET is_active = false, deleted_at = updated_at WHERE email = 'deleted@example.com'")
    return cast


FAILURES = {
    "wrong": ("sam@example.com", "wrong horse battery"),
    "longer": ("sam@example.com", PASSWORD + " "),
    "unknown": ("nobody@example.com", PASSWORD),
    "no email": ("no email", PASSWORD),
    "far too long": ("sam@example.com", "x" * 60_000),
    "stopped": ("stopped@example.com", PASSWORD),
    "deleted": ("deleted@example.com", PASSWORD),
    "an operator": ("omar@example.com", PASSWORD),  # who holds what the key does not
    "an administrator": ("ada@example.com", PASSWORD),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_every_failure_looks_the_same(
    app: Flask, api: Api, all_states: Cast, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    """One answer, after one hash."""
    hashes: list[str] = []
    check = argon2id.is_hash_of

    def count(known: str, given: bytes) -> bool:
        hashes.append(known.rpartition("$")[0].rpartition("$")[0])
        return check(known, given)

    monkeypatch.setattr(argon2id, "is_hash_of", count)
    monkeypatch.setattr(argon2id, "hash_of", None)
    before = rows(app, "SELECT * FROM users ORDER BY id")
    answer = verify(api, *FAILURES[failure])
    assert (answer.status_code, answer.data) == (200, b'{"valid":false}\n')
    assert hashes == ["$argon2id$v=19$m=8,t=1,p=1"]
    assert [row[:3] for row in trail(app)] == [("refused", "key", True)]
    assert rows(app, "SELECT * FROM users ORDER BY id") == before


def test_every_failure_takes_the_same_work(app: Flask, api: Api, all_states: Cast) -> None:
    """The same statements in the same order: apart from the hash, only they take time."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    with app.app_context():
        engine = db.engine
    verify(api, "nobody@example.com")  # records the key's last use, which it then skips for a minute
    event.listen(engine, "before_cursor_execute", note)
    seen = []
    try:
        for email, password in FAILURES.values():
            statements.clear()
            assert verify(api, email, password).json == {"valid": False}
            seen.append(list(statements))
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert all(one == seen[0] for one in seen)


@pytest.mark.parametrize("role", [None, *Role])
def test_key_needs_the_permissions_of_the_user(app: Flask, api: Api, cast: Cast, role: Role | None) -> None:
    """A key verifies only users whose permissions it holds."""
    make_user(app, "jo@example.com", role)
    holds_nothing = role in (None, Role.MEMBER)
    assert verify(api, "jo@example.com").json["valid"] is holds_nothing
    operators = make_key(app, VERIFY, *Role.OPERATOR.permissions)
    assert verify(api, "jo@example.com", key=operators).json["valid"] is (holds_nothing or role == Role.OPERATOR)
    assert verify(api, "jo@example.com", key=make_key(app, *Permission)).json["valid"] is True
    assert verify(api, "jo@example.com", key=make_key(app, *Permission, owner=cast.ada)).json["valid"] is True


@pytest.mark.parametrize("email", ["sam@example.com", "SAM@example.com", "nobody@example.com", "no email"])
def test_limit_after_ten_failures(
    app: Flask, api: Api, cast: Cast, monkeypatch: pytest.MonkeyPatch, email: str
) -> None:
    for _ in range(10):
        assert verify(api, email, "wrong horse battery").json == {"valid": False}
    monkeypatch.setattr(PasswordPlace, "verify", None)  # it is not called
    for _ in range(2):
        answer = verify(api, email)
        error = answer.json["error"]
        assert (answer.status_code, error["code"]) == (429, "RATE_LIMIT_EXCEEDED")
        assert 0 < int(answer.headers["Retry-After"]) <= 300
    monkeypatch.undo()
    assert [row[0] for row in trail(app)] == ["refused"] * 10 + ["throttled"]
    assert verify(api, "omar@example.com", key=make_key(app, *Permission)).json["valid"]  # another account
    later = clock.now() + timedelta(minutes=5, seconds=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert verify(api, email).json["valid"] is (email.lower() == "sam@example.com")


def test_success_resets_the_limit(app: Flask, api: Api, cast: Cast) -> None:
    for _ in range(3):
        for _ in range(9):
            assert verify(api, password="wrong horse battery").json == {"valid": False}
        assert verify(api).json["valid"] is True
    assert rows(app, "SELECT * FROM throttles WHERE account IS NOT NULL") == []


def test_callers_network_is_not_limited(app: Flask, api: Api, cast: Cast, visitor: Visitor) -> None:
    """The caller is another application that serves all its users: one of them must not lock out the others."""
    for number in range(15):
        assert verify(api, f"nobody{number}@example.com").json == {"valid": False}
    assert verify(api).json["valid"] is True
    assert visitor.sign_in("omar@example.com").status_code == 303


def test_old_hash_is_replaced(app: Flask, api: Api, cast: Cast) -> None:
    old = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(PASSWORD)
    execute(app, "UPDATE users SET password_hash = :old WHERE id = :id", old=old, id=cast.sam.id)
    verify(api, password="wrong horse battery")
    assert rows(app, "SELECT password_hash FROM users WHERE id = :id", id=cast.sam.id) == [(old,)]
    assert verify(api).json["valid"] is True
    ((new,),) = rows(app, "SELECT password_hash FROM users WHERE id = :id", id=cast.sam.id)
    assert new.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert verify(api).json["valid"] is True


CHANGES = [
    "password_hash = 'x', password_changed_at = created_at",
    "is_active = false",
    "global_role_id = 'role_admin'",
    "deleted_at = created_at",
]


@pytest.mark.parametrize("change", CHANGES)
def test_user_who_changes_meanwhile(
    app: Flask, api: Api, cast: Cast, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """A user who changes while the password is checked gets no success."""
    check = PasswordPlace.verify

    def verify_and_change(
        self: PasswordPlace, password_hash: str | None, password: str, make: str | None = None
    ) -> str:
        kept = check(self, password_hash, password, make)
        execute(app, f"UPDATE users SET {change} WHERE id = :id", id=cast.sam.id)
        return kept

    monkeypatch.setattr(PasswordPlace, "verify", verify_and_change)
    assert verify(api).json == {"valid": False}
    assert trail(app) == [("refused", "key", True, cast.sam.id)]


BAD: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    ({}, [("email", "REQUIRED_FIELD"), ("password", "REQUIRED_FIELD")]),
    ({"email": "", "password": ""}, [("email", "REQUIRED_FIELD"), ("password", "REQUIRED_FIELD")]),
    ({"email": 5, "password": ["x"]}, [("email", "INVALID_TYPE"), ("password", "INVALID_TYPE")]),
    ({"email": None, "password": PASSWORD}, [("email", "REQUIRED_FIELD")]),
    ({"email": "a@b.c", "password": "x", "passwrod": "y"}, [("passwrod", "UNKNOWN_FIELD")]),
]


@pytest.mark.parametrize(("body", "expected"), BAD, ids=str)
def test_body_without_email_or_password(
    app: Flask, api: Api, body: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    answer = api.call("POST", PATH, json=body)
    assert answer.status_code == 422
    assert [(one["field"], one["code"]) for one in answer.json["error"]["details"]["errors"]] == expected
    assert trail(app) == []


def test_needs_the_permission(app: Flask, api: Api, cast: Cast) -> None:
    others = make_key(app, *(one for one in Permission if one != VERIFY))
    for key, status in ((None, 401), (others, 403), (make_key(app, VERIFY, owner=cast.omar), 403)):
        assert verify(api, key=key).status_code == status


@pytest.mark.parametrize("password", [PASSWORD, "wrong horse battery"])
def test_password_is_not_stored(
    app: Flask, api: Api, cast: Cast, capfd: pytest.CaptureFixture[str], password: str
) -> None:
    """Not in the answer, the log, the audit trail or the throttles."""
    answer = verify(api, password=password)
    assert verify(api, password, password).json == {"valid": False}  # typed into the wrong field
    told = answer.text + "".join(capfd.readouterr())
    stored = [str(rows(app, f"SELECT * FROM {table}")) for table in ("audit_events", "throttles")]
    assert password not in told + str(stored)
    assert "argon2id" not in told + str(stored)


@pytest.mark.parametrize("act", [lambda api: verify(api), lambda api: verify(api, password="wrong horse battery")])
def test_unavailable_database_counts_no_attempt(app: Flask, api: Api, cast: Cast, act: Callable[[Api], Answer]) -> None:
    verify(api, password="wrong horse battery")
    execute(app, "ALTER TABLE audit_events RENAME TO elsewhere")
    try:
        assert act(api).status_code == 503
    finally:
        execute(app, "ALTER TABLE elsewhere RENAME TO audit_events")
    assert verify(api).json["valid"] is True
