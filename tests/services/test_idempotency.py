"""A create under an Idempotency-Key happens once and gets the same answer for a day."""

import hashlib
import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from app import create_app
from support.api import Api
from support.application import CHEAP, SECRET_KEY, dispose
from support.databases import execute, rows
from support.idempotency import BODY, NOTHING, ONE, REUSED, code, counts, is_replayed, seen, send
from support.people import make_key, make_user
from users import clock
from users.roles import Permission
from users.services import user_creation
from users.storage.models import db


def test_replay(app: Flask, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    first = send(api)
    assert first.status_code == 201
    assert not is_replayed(first)
    monkeypatch.setattr(user_creation, "hasher", lambda: pytest.fail("a replay computes no hash"))
    for _ in range(3):
        again = send(api)
        assert seen(again) == seen(first)
        assert is_replayed(again)
    assert counts(app) == ONE


def test_no_header(app: Flask, api: Api) -> None:
    assert api.create().status_code == 201
    assert code(api.create()) == (409, "USER_ALREADY_EXISTS")
    assert counts(app) == {**ONE, "records": 0}


@pytest.mark.parametrize(
    "change",
    [
        "first_name = 'Joanna'",
        "is_active = false",
        "deleted_at = updated_at",
        "email = 'new@example.com', email_key = 'new@example.com'",
    ],
)
def test_replay_after_a_change_of_the_user(app: Flask, api: Api, change: str) -> None:
    first = send(api)
    execute(app, f"UPDATE users SET {change}")
    again = send(api)
    assert seen(again) == seen(first)
    assert is_replayed(again)
    assert counts(app) == ONE


def test_replay_after_a_change_of_the_rules(app: Flask, api: Api, database_url: str) -> None:
    first = send(api)
    stricter = create_app({**CHEAP, "DATABASE_URL": database_url, "ENROL_PASSWORD_MIN_LENGTH": "100"})
    again = send(Api(stricter.test_client(), api.key))
    dispose(stricter)
    assert seen(again) == seen(first)


@pytest.mark.parametrize(
    "body",
    [
        b'{"password": "correct horse battery", "email": "jo@example.com"}',
        b'\n{"email":\t"jo@example.com",\r\n"password":"correct horse battery"}',
        b'{"email": "jo\\u0040example.com", "password": "correct horse battery"}',
    ],
    ids=["order", "white space", "escapes"],
)
def test_equal_bodies(api: Api, body: bytes) -> None:
    """Bodies that parse to the same object are the same request."""
    first = send(api)
    again = send(api, json=None, data=body, content_type="application/json")
    assert seen(again) == seen(first)


@pytest.mark.parametrize(
    "change",
    [
        {"email": "sam@example.com"},
        {"email": "JO@example.com"},
        {"email": " jo@example.com"},
        {"password": "another horse battery"},
        {"first_name": None},
        {"first_name": "Jo"},
        {"password": "short"},
        {"unknown": "member"},
    ],
    ids=str,
)
def test_other_bodies(app: Flask, api: Api, change: dict[str, object]) -> None:
    first = send(api)
    answer = send(api, json={**BODY, **change})
    assert code(answer) == REUSED
    assert answer.json["error"]["type"] == "validation_error"
    assert answer.json["error"]["details"] == {}
    assert not is_replayed(answer)
    assert counts(app) == ONE
    assert seen(send(api)) == seen(first)


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"json": {**BODY, "password": "short"}}, 422),
        ({"json": []}, 400),
        ({"json": {**BODY, "email": "sam@x.com"}}, 409),
    ],
    ids=["invalid", "not an object", "taken"],
)
def test_errors_are_not_kept(app: Flask, api: Api, wrong: dict[str, Any], status: int) -> None:
    make_user(app, "sam@x.com")
    for _ in range(2):
        assert send(api, **wrong).status_code == status
    assert counts(app)["records"] == 0
    right = send(api)
    assert (right.status_code, is_replayed(right)) == (201, False)


def test_failed_create_keeps_nothing(app: Flask, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(user_creation.trail, "record", fail)  # type: ignore[attr-defined]
        assert send(api).status_code == 500
    assert counts(app) == NOTHING
    assert (send(api).status_code, counts(app)) == (201, ONE)


VISIBLE = "".join(map(chr, range(0x21, 0x7F)))


@pytest.mark.parametrize(
    "key", ["a", "a" * 255, VISIBLE, "one,two", '"quoted"'], ids=["1", "255", "all", "comma", "quote"]
)
def test_valid_keys(api: Api, key: str) -> None:
    """A key is 1 to 255 visible ASCII characters."""
    first = send(api, key)
    assert first.status_code == 201
    assert is_replayed(send(api, key))
    other = send(api, key.swapcase(), json={**BODY, "email": "sam@example.com"})  # compared character by character
    assert (other.status_code, is_replayed(other)) == (201, False)


@pytest.mark.one_database
@pytest.mark.parametrize(
    "key", ["", " ", "a b", " a", "a\t", "a" * 256, "clé", "\x7f", "ключ".encode().decode("latin-1")]
)
def test_invalid_keys(app: Flask, api: Api, key: str) -> None:
    answer = send(api, key)
    assert code(answer) == (400, "INVALID_PARAMETER")
    assert answer.json["error"]["details"] == {"parameter": "Idempotency-Key"}
    assert answer.json["error"]["message"] == "Idempotency-Key takes 1 to 255 visible ASCII characters."
    assert counts(app) == NOTHING


def test_order_of_checks(app: Flask, api: Api) -> None:
    """The header is checked after the API key and before the body."""
    assert send(Api(api.client, None), "").status_code == 401
    assert send(Api(api.client, make_key(app)), "").status_code == 403
    assert code(send(api, "", json=[])) == (400, "INVALID_PARAMETER")


def test_two_callers_with_one_key(app: Flask, api: Api) -> None:
    assert send(api).status_code == 201
    other = Api(api.client, make_key(app, Permission.USERS_CREATE))
    assert code(send(other)) == (409, "USER_ALREADY_EXISTS")
    second = send(other, json={**BODY, "email": "sam@example.com"})
    assert (second.status_code, is_replayed(second)) == (201, False)
    assert counts(app) == {"users": 2, "records": 2, "acts": 2}


def test_replay_needs_permission(app: Flask, api: Api) -> None:
    assert send(api).status_code == 201
    execute(app, "UPDATE api_keys SET scopes = '[]'")
    assert code(send(api)) == (403, "INSUFFICIENT_PERMISSIONS")


def test_validate_only(app: Flask, api: Api) -> None:
    for _ in range(2):
        answer = send(api, query="?validate_only=true")
        assert (answer.status_code, answer.json, is_replayed(answer)) == (200, {"valid": True}, False)
    assert counts(app) == NOTHING
    assert not is_replayed(send(api))


def test_validate_only_with_a_used_key(app: Flask, api: Api) -> None:
    send(api)
    assert send(api, query="?validate_only=true").json == {"valid": True}  # the real call would replay
    assert code(send(api, query="?validate_only=true", json={**BODY, "first_name": "Jo"})) == REUSED
    assert counts(app) == ONE


def test_expiry(app: Flask, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    start = clock.now()
    monkeypatch.setattr(clock, "now", lambda: start)
    first = send(api)
    monkeypatch.setattr(clock, "now", lambda: start + timedelta(hours=24, microseconds=-1))
    assert seen(send(api)) == seen(first)
    monkeypatch.setattr(clock, "now", lambda: start + timedelta(hours=24))
    assert code(send(api)) == (409, "USER_ALREADY_EXISTS")
    second = send(api, json={**BODY, "email": "sam@example.com"})
    assert (second.status_code, is_replayed(second)) == (201, False)
    assert counts(app) == {"users": 2, "records": 1, "acts": 2}


def test_expired_key_alone_is_deleted(app: Flask, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    start = clock.now()
    for number in range(3):
        monkeypatch.setattr(clock, "now", lambda number=number: start + timedelta(seconds=number))
        assert send(api, f"key-{number}", json={**BODY, "email": f"{number}@example.com"}).status_code == 201
    monkeypatch.setattr(clock, "now", lambda: start + timedelta(hours=25))
    again = send(api, "key-2")
    assert (again.status_code, is_replayed(again)) == (201, False)
    assert is_replayed(send(api, "key-2"))
    assert counts(app)["records"] == 3


def test_rotated_secret_key(api: Api, database_url: str) -> None:
    first = send(api)
    new = {**CHEAP, "DATABASE_URL": database_url, "SECRET_KEY": uuid.uuid4().hex * 2}
    for fallbacks, expected in ((f"{uuid.uuid4().hex * 2},{SECRET_KEY}", 201), ("", 422)):
        rotated = create_app({**new, "SECRET_KEY_FALLBACKS": fallbacks})
        answer = send(Api(rotated.test_client(), api.key))
        assert answer.status_code == expected
        assert expected == 422 or seen(answer) == seen(first)
        dispose(rotated)


def test_body_is_stored_as_keyed_hash(app: Flask, api: Api) -> None:
    canary = "canary-Xq7pass"
    body = {"email": "jo@example.com", "password": canary}
    assert send(api, json=body).status_code == 201
    assert is_replayed(send(api, json=body))
    known = [canary, json.dumps(body), json.dumps(body, sort_keys=True), json.dumps(body, separators=(",", ":"))]
    digests = [hashlib.new(name, text.encode()) for name in ("md5", "sha1", "sha256", "sha512") for text in known]
    cells = [cell for table in db.metadata.tables for row in rows(app, f'SELECT * FROM "{table}"') for cell in row]
    stored = b"\n".join(bytes(cell) if isinstance(cell, bytes | memoryview) else str(cell).encode() for cell in cells)
    assert b"jo@example.com" in stored  # the tables were read
    assert canary.encode() not in stored
    for digest in digests:
        assert digest.digest() not in stored
        assert digest.hexdigest().encode() not in stored.lower()
    ((fingerprint,),) = rows(app, "SELECT fingerprint FROM idempotency_records")
    assert len(bytes(fingerprint)) == 32
