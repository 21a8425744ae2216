"""Another application signs users in: one answer for every cause, after the same work, and not for ever."""

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
    """Return what was noted of passwords that were checked."""
    found = rows(
        app,
        "SELECT outcome, actor_kind, actor_key_id IS NOT NULL, target_id FROM audit_events"
        " WHERE action = 'user.verify_password' ORDER BY id",
    )
    return [(row[0], row[1], bool(row[2]), row[3]) for row in found]


def test_the_right_password_gets_the_user(app: Flask, api: Api, cast: Cast) -> None:
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
def test_whatever_spelling_is_refused_as_taken_signs_in(api: Api, cast: Cast, spelling: str) -> None:
    assert verify(api, spelling).json["valid"] is True


@pytest.fixture
def everybody(app: Flask, cast: Cast) -> Cast:
    """The cast, somebody who is deactivated and somebody who was deleted."""
    for name in ("stopped", "deleted"):
        make_user(app, f"{name}@example.com")
    execute(app, "UPDATE users SET is_active = false WHERE email = 'stopped@example.com'")
    execute(app, "UPDATE users SET is_active = false, deleted_at = updated_at WHERE email = 'deleted@example.com'")
    return cast


CAUSES = {
    "wrong": ("sam@example.com", "wrong horse battery"),
    "longer": ("sam@example.com", PASSWORD + " "),
    "unknown": ("nobody@example.com", PASSWORD),
    "no address": ("no address", PASSWORD),
    "far too long": ("sam@example.com", "x" * 60_000),
    "stopped": ("stopped@example.com", PASSWORD),
    "deleted": ("deleted@example.com", PASSWORD),
    "an operator": ("omar@example.com", PASSWORD),  # who holds what the key does not
    "an administrator": ("ada@example.com", PASSWORD),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_every_cause_has_one_answer_after_one_hash(
    app: Flask, api: Api, everybody: Cast, monkeypatch: pytest.MonkeyPatch, cause: str
) -> None:
    hashes: list[str] = []
    check = argon2id.is_hash_of

    def count(known: str, given: bytes) -> bool:
        hashes.append(known.rpartition("$")[0].rpartition("$")[0])
        return check(known, given)

    monkeypatch.setattr(argon2id, "is_hash_of", count)
    monkeypatch.setattr(argon2id, "hash_of", None)
    before = rows(app, "SELECT * FROM users ORDER BY id")
    answer = verify(api, *CAUSES[cause])
    assert (answer.status_code, answer.data) == (200, b'{"valid":false}\n')
    assert hashes == ["$argon2id$v=19$m=8,t=1,p=1"]
    assert [row[:3] for row in trail(app)] == [("refused", "key", True)]
    assert rows(app, "SELECT * FROM users ORDER BY id") == before


def test_the_work_is_the_same_for_every_cause(app: Flask, api: Api, everybody: Cast) -> None:
    """As many statements, in the same order: beside the hash they are all that takes time."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    with app.app_context():
        engine = db.engine
    verify(api, "nobody@example.com")  # the key's last use is noted now
    event.listen(engine, "before_cursor_execute", note)
    seen = []
    try:
        for email, password in CAUSES.values():
            statements.clear()
            assert verify(api, email, password).json == {"valid": False}
            seen.append(list(statements))
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert all(one == seen[0] for one in seen)


@pytest.mark.parametrize("role", [None, *Role])
def test_only_whom_the_key_holds_all_of_is_checked(app: Flask, api: Api, cast: Cast, role: Role | None) -> None:
    make_user(app, "jo@example.com", role)
    holds_nothing = role in (None, Role.MEMBER)
    assert verify(api, "jo@example.com").json["valid"] is holds_nothing
    operators = make_key(app, VERIFY, *Role.OPERATOR.permissions)
    assert verify(api, "jo@example.com", key=operators).json["valid"] is (holds_nothing or role == Role.OPERATOR)
    assert verify(api, "jo@example.com", key=make_key(app, *Permission)).json["valid"] is True
    assert verify(api, "jo@example.com", key=make_key(app, *Permission, owner=cast.ada)).json["valid"] is True


@pytest.mark.parametrize("email", ["sam@example.com", "SAM@example.com", "nobody@example.com", "no address"])
def test_after_ten_wrong_ones_nobody_is_told_anything_for_a_while(
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


def test_the_right_password_gives_all_tries_back(app: Flask, api: Api, cast: Cast) -> None:
    for _ in range(3):
        for _ in range(9):
            assert verify(api, password="wrong horse battery").json == {"valid": False}
        assert verify(api).json["valid"] is True
    assert rows(app, "SELECT * FROM throttles WHERE account IS NOT NULL") == []


def test_the_callers_address_is_not_counted(app: Flask, api: Api, cast: Cast, visitor: Visitor) -> None:
    """The caller is another application, for all of its users: one of them must not shut out the others."""
    for number in range(15):
        assert verify(api, f"nobody{number}@example.com").json == {"valid": False}
    assert verify(api).json["valid"] is True
    assert visitor.sign_in("omar@example.com").status_code == 303


def test_a_hash_of_old_parameters_is_made_anew(app: Flask, api: Api, cast: Cast) -> None:
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
def test_who_changes_meanwhile_is_not_let_in(
    app: Flask, api: Api, cast: Cast, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    check = PasswordPlace.verify

    def verify_and_change(self: PasswordPlace, password_hash: str | None, password: str) -> str:
        kept = check(self, password_hash, password)
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
def test_a_body_without_both_is_refused(
    app: Flask, api: Api, body: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    answer = api.call("POST", PATH, json=body)
    assert answer.status_code == 422
    assert [(one["field"], one["code"]) for one in answer.json["error"]["details"]["errors"]] == expected
    assert trail(app) == []


def test_it_takes_the_permission_to(app: Flask, api: Api, cast: Cast) -> None:
    others = make_key(app, *(one for one in Permission if one != VERIFY))
    for key, status in ((None, 401), (others, 403), (make_key(app, VERIFY, owner=cast.omar), 403)):
        assert verify(api, key=key).status_code == status


@pytest.mark.parametrize("password", [PASSWORD, "wrong horse battery"])
def test_the_password_is_nowhere(
    app: Flask, api: Api, cast: Cast, capfd: pytest.CaptureFixture[str], password: str
) -> None:
    answer = verify(api, password=password)
    assert verify(api, password, password).json == {"valid": False}  # typed into the wrong field
    told = answer.text + "".join(capfd.readouterr())
    stored = [str(rows(app, f"SELECT * FROM {table}")) for table in ("audit_events", "throttles")]
    assert password not in told + str(stored)
    assert "argon2id" not in told + str(stored)


@pytest.mark.parametrize("act", [lambda api: verify(api), lambda api: verify(api, password="wrong horse battery")])
def test_a_database_that_is_away_gives_the_try_back(
    app: Flask, api: Api, cast: Cast, act: Callable[[Api], Answer]
) -> None:
    verify(api, password="wrong horse battery")
    execute(app, "ALTER TABLE audit_events RENAME TO elsewhere")
    try:
        assert act(api).status_code == 503
    finally:
        execute(app, "ALTER TABLE elsewhere RENAME TO audit_events")
    assert verify(api).json["valid"] is True
