"""Under an Idempotency-Key a create happens once and is answered the same way every time, for a day."""

import hashlib
import json
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from app import create_app
from support.api import Answer, Api
from support.application import CHEAP, SECRET_KEY, dispose
from support.databases import execute, rows
from support.idempotency import BODY, NOTHING, ONE, REUSED, code, counts, is_replayed, seen, send
from support.people import make_key, make_user
from users import clock
from users.roles import Permission
from users.services import user_creation
from users.storage.models import db


def test_the_same_request_again_gets_the_same_answer(app: Flask, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    first = send(api)
    assert first.status_code == 201
    assert not is_replayed(first)
    monkeypatch.setattr(user_creation, "hasher", lambda: pytest.fail("a replay computes no hash"))
    for _ in range(3):
        again = send(api)
        assert seen(again) == seen(first)
        assert is_replayed(again)
    assert counts(app) == ONE


def test_without_the_header_nothing_is_kept(app: Flask, api: Api) -> None:
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
def test_the_answer_is_the_first_one_whatever_became_of_the_user(app: Flask, api: Api, change: str) -> None:
    first = send(api)
    execute(app, f"UPDATE users SET {change}")
    again = send(api)
    assert seen(again) == seen(first)
    assert is_replayed(again)
    assert counts(app) == ONE


def test_the_answer_is_the_first_one_whatever_became_of_the_rules(app: Flask, api: Api, database_url: str) -> None:
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
def test_what_parses_to_the_same_object_is_the_same_request(api: Api, body: bytes) -> None:
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
def test_another_body_under_the_key_is_refused(app: Flask, api: Api, change: dict[str, object]) -> None:
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


def test_a_record_whose_user_fails_is_not_kept(app: Flask, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_a_key_is_1_to_255_visible_ascii_characters(api: Api, key: str) -> None:
    first = send(api, key)
    assert first.status_code == 201
    assert is_replayed(send(api, key))
    other = send(api, key.swapcase(), json={**BODY, "email": "sam@example.com"})  # compared character by character
    assert (other.status_code, is_replayed(other)) == (201, False)


@pytest.mark.one_database
@pytest.mark.parametrize(
    "key", ["", " ", "a b", " a", "a\t", "a" * 256, "clé", "\x7f", "ключ".encode().decode("latin-1")]
)
def test_another_text_is_no_key(app: Flask, api: Api, key: str) -> None:
    answer = send(api, key)
    assert code(answer) == (400, "INVALID_PARAMETER")
    assert answer.json["error"]["details"] == {"parameter": "Idempotency-Key"}
    assert answer.json["error"]["message"] == "Idempotency-Key takes 1 to 255 visible ASCII characters."
    assert counts(app) == NOTHING


def test_the_header_is_judged_after_the_caller_and_before_the_body(app: Flask, api: Api) -> None:
    assert send(Api(api.client, None), "").status_code == 401
    assert send(Api(api.client, make_key(app)), "").status_code == 403
    assert code(send(api, "", json=[])) == (400, "INVALID_PARAMETER")


def test_another_callers_same_key_is_another_request(app: Flask, api: Api) -> None:
    assert send(api).status_code == 201
    other = Api(api.client, make_key(app, Permission.USERS_CREATE))
    assert code(send(other)) == (409, "USER_ALREADY_EXISTS")
    second = send(other, json={**BODY, "email": "sam@example.com"})
    assert (second.status_code, is_replayed(second)) == (201, False)
    assert counts(app) == {"users": 2, "records": 2, "acts": 2}


def test_what_was_kept_is_given_only_to_who_may_create_still(app: Flask, api: Api) -> None:
    assert send(api).status_code == 201
    execute(app, "UPDATE api_keys SET scopes = '[]'")
    assert code(send(api)) == (403, "INSUFFICIENT_PERMISSIONS")


def test_validate_only_keeps_nothing(app: Flask, api: Api) -> None:
    for _ in range(2):
        answer = send(api, query="?validate_only=true")
        assert (answer.status_code, answer.json, is_replayed(answer)) == (200, {"valid": True}, False)
    assert counts(app) == NOTHING
    assert not is_replayed(send(api))


def test_validate_only_says_what_the_real_call_would_under_a_used_key(app: Flask, api: Api) -> None:
    send(api)
    assert send(api, query="?validate_only=true").json == {"valid": True}  # the real call would replay
    assert code(send(api, query="?validate_only=true", json={**BODY, "first_name": "Jo"})) == REUSED
    assert counts(app) == ONE


def test_a_day_later_the_key_is_a_new_one(app: Flask, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_an_expired_key_is_new_and_takes_no_other_away(app: Flask, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    start = clock.now()
    for number in range(3):
        monkeypatch.setattr(clock, "now", lambda number=number: start + timedelta(seconds=number))
        assert send(api, f"key-{number}", json={**BODY, "email": f"{number}@example.com"}).status_code == 201
    monkeypatch.setattr(clock, "now", lambda: start + timedelta(hours=25))
    again = send(api, "key-2")
    assert (again.status_code, is_replayed(again)) == (201, False)
    assert is_replayed(send(api, "key-2"))
    assert counts(app)["records"] == 3


def test_a_new_secret_key_knows_what_an_older_one_kept(api: Api, database_url: str) -> None:
    first = send(api)
    new = {**CHEAP, "DATABASE_URL": database_url, "SECRET_KEY": uuid.uuid4().hex * 2}
    for fallbacks, expected in ((f"{uuid.uuid4().hex * 2},{SECRET_KEY}", 201), ("", 422)):
        rotated = create_app({**new, "SECRET_KEY_FALLBACKS": fallbacks})
        answer = send(Api(rotated.test_client(), api.key))
        assert answer.status_code == expected
        assert expected == 422 or seen(answer) == seen(first)
        dispose(rotated)


def test_the_body_is_remembered_by_a_keyed_hash_alone(app: Flask, api: Api) -> None:
    canary = "canary-Xq7pass"
    body = {"email": "jo@example.com", "password": canary}
    assert send(api, json=body).status_code == 201
    assert is_replayed(send(api, json=body))
    known = [canary, json.dumps(body), json.dumps(body, sort_keys=True), json.dumps(body, separators=(",", ":"))]
    digests = [hashlib.new(name, text.encode()) for name in ("md5", "sha1", "sha256", "sha512") for text in known]
    cells = [cell for table in db.metadata.tables for row in rows(app, f'SELECT * FROM "{table}"') for cell in row]
    stored = b"\n".join(bytes(cell) if isinstance(cell, bytes | memoryview) else str(cell).encode() for cell in cells)
    assert b"jo@example.com" in stored  # the tables were looked at
    assert canary.encode() not in stored
    for digest in digests:
        assert digest.digest() not in stored
        assert digest.hexdigest().encode() not in stored.lower()
    ((fingerprint,),) = rows(app, "SELECT fingerprint FROM idempotency_records")
    assert len(bytes(fingerprint)) == 32


TOO_MANY = (429, "RATE_LIMIT_EXCEEDED")


def guess(api: Api, number: int, **more: Any) -> Answer:
    """Send the request with another password."""
    return send(api, json={**BODY, "password": f"guess number {number}"}, **more)


@pytest.mark.parametrize("query", ["", "?validate_only=true"])
def test_ten_other_bodies_are_compared_and_then_none(app: Flask, api: Api, query: str) -> None:
    """A used key would else tell right passwords from wrong ones, without a limit, a hash or a trace."""
    first = send(api)
    assert [code(guess(api, number, query=query)) for number in range(13)] == [REUSED] * 10 + [TOO_MANY] * 3
    answer = send(api, query=query)
    assert code(answer) == TOO_MANY, "the right one neither"
    assert 0 < int(answer.headers["Retry-After"]) <= 300
    assert "Idempotency-Key" in answer.json["error"]["message"]
    event = "SELECT outcome, target_id, actor_kind FROM audit_events WHERE outcome = 'throttled'"
    assert [tuple(row) for row in rows(app, event)] == [("throttled", first.json["id"], "key")]
    assert send(api, "another-key").status_code == 409, "other keys go on"
    assert counts(app) == ONE


def test_after_five_minutes_the_answer_is_there_again(app: Flask, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    first = send(api)
    for number in range(11):
        guess(api, number)
    later = clock.now() + timedelta(minutes=5, seconds=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert seen(send(api)) == seen(first)


def test_a_burst_of_other_bodies_is_compared_ten_times(app: Flask, api: Api) -> None:
    send(api)

    def compare(number: int) -> tuple[int, str]:
        return code(guess(Api(app.test_client(), api.key), number))

    with ThreadPoolExecutor(16) as pool:
        assert Counter(pool.map(compare, range(40))) == {REUSED: 10, TOO_MANY: 30}
    assert len(rows(app, "SELECT 1 FROM audit_events WHERE outcome = 'throttled'")) == 1


def test_the_same_body_again_counts_nothing(app: Flask, api: Api) -> None:
    send(api)
    for number in range(9):
        guess(api, number)
    for _ in range(15):
        assert send(api).status_code == 201
    assert code(guess(api, 9)) == REUSED
