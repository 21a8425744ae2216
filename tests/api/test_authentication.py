"""An API key becomes an actor: where it is read from, what it may do and when it stops."""

import logging
import time
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask

from support.api import Answer, Api
from support.databases import execute, rows
from support.people import PASSWORD, Cast, make_key, make_user
from users import clock
from users.errors import Unavailable
from users.roles import ALL_PERMISSIONS, Permission, Role, permissions_of
from users.rules import key_format
from users.storage import database, driver_errors
from users.storage.models import User, db

pytestmark = pytest.mark.one_database

CREATE, READ = Permission.USERS_CREATE, Permission.USERS_READ
BODY = {"email": "jo@example.com", "password": PASSWORD}


def code(answer: Answer) -> str:
    """Return the code of an error."""
    found: str = answer.json["error"]["code"]
    return found


NO_KEYS = ["", "secret", "ak_" + "a" * 40, "ak_" + "é" * 40, "ak_" + "a" * 9000, "an unknown one"]


@pytest.mark.parametrize("presented", NO_KEYS)
def test_wrong_key_is_401(api: Api, presented: str) -> None:
    if presented == "an unknown one":
        presented = key_format.new_key()
    for headers in ({"X-API-Key": presented}, {"Authorization": f"Bearer {presented}"}):
        answer = api.call("POST", "/v1/user/", key=None, headers=headers, json=BODY)
        assert (answer.status_code, code(answer)) == (401, "AUTHENTICATION_REQUIRED")


def test_key_is_read_from_two_headers(api: Api) -> None:
    """And from nowhere else: no query, no body, no cookie."""
    key = api.key or ""

    def status(**more: object) -> int:
        found: int = api.call("GET", "/v1/user/me", key=None, **more).status_code
        return found

    assert status(headers={"X-API-Key": key}) == 404  # a service key has no owner, but it is a key
    assert status(headers={"Authorization": f"Bearer {key}"}) == 404
    assert status(headers={"Authorization": f"bearer {key}"}) == 404
    assert status(headers={"Authorization": f"Basic {key}"}) == 401
    assert status(headers={"Authorization": key}) == 401
    assert status(query_string={"api_key": key, "X-API-Key": key}) == 401
    assert status(json={"api_key": key}) == 401
    api.client.set_cookie("X-API-Key", key)
    assert status() == 401


def test_x_api_key_has_precedence(api: Api) -> None:
    """Clients of the hosted API send a session token beside the key."""
    key = api.key or ""
    both = {"X-API-Key": key, "Authorization": "Bearer session-token"}
    assert api.get("/v1/user/me", key=None, headers=both).status_code == 404
    for wrong in ("", key_format.new_key()):
        both = {"X-API-Key": wrong, "Authorization": f"Bearer {key}"}
        assert api.get("/v1/user/me", key=None, headers=both).status_code == 401


def test_two_keys_in_one_header(app: Flask, api: Api) -> None:
    key = api.key or ""
    assert api.get("/v1/user/me", key=f"{key},{key}").status_code == 401
    assert api.get("/v1/user/me", key=f"{key}, {make_key(app, READ)}").status_code == 401


def test_reason_for_a_stopped_key(app: Flask, cast: Cast, api: Api) -> None:
    """Only a caller with the real key is told why it was stopped."""
    expired, revoked, owned = (make_key(app, CREATE, owner=owner) for owner in (None, None, cast.ada))
    past, now = datetime(2020, 1, 1, tzinfo=UTC), clock.now()
    stop(app, expired, "expires_at", past)
    stop(app, revoked, "deactivated_at", now)
    assert api.call("POST", "/v1/user/", key=owned, json=BODY).status_code == 201
    execute(app, "UPDATE users SET is_active = false WHERE id = :id", id=cast.ada.id)
    for key, expected in (
        (expired, "API_KEY_EXPIRED"),
        (revoked, "API_KEY_DEACTIVATED"),
        (owned, "API_KEY_DEACTIVATED"),
    ):
        answer = api.call("POST", "/v1/user/", key=key, json=BODY)
        assert (answer.status_code, code(answer)) == (401, expected)
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="enrol"')
        typo = key[:-1] + ("a" if key[-1] != "a" else "b")
        assert code(api.call("POST", "/v1/user/", key=typo, json=BODY)) == "AUTHENTICATION_REQUIRED"


def stop(app: Flask, key: str, column: str, moment: datetime) -> None:
    """Set one of the key's times."""
    execute(app, f"UPDATE api_keys SET {column} = :at WHERE key_hash = :hash", at=moment, hash=key_format.digest(key))


def test_key_of_a_deleted_owner(app: Flask, cast: Cast, api: Api) -> None:
    key = make_key(app, CREATE, owner=cast.ada)
    execute(app, "UPDATE users SET deleted_at = updated_at WHERE id = :id", id=cast.ada.id)
    assert code(api.call("POST", "/v1/user/", key=key, json=BODY)) == "API_KEY_DEACTIVATED"


def test_key_expires_at_its_time(app: Flask, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    end = clock.now() + timedelta(hours=1)
    stop(app, api.key or "", "expires_at", end)
    for moment, expected in ((end - timedelta(seconds=1), 404), (end, 401)):
        monkeypatch.setattr(clock, "now", lambda moment=moment: moment)
        assert api.get("/v1/user/me").status_code == expected


@pytest.mark.parametrize("person", ["ada", "omar", "vera", "sam"])
def test_key_has_no_more_than_its_owner(app: Flask, cast: Cast, api: Api, person: str) -> None:
    owner: User = getattr(cast, person)
    key = make_key(app, CREATE, READ, owner=owner)
    held = permissions_of(owner.global_role_id)
    assert api.call("POST", "/v1/user/", key=key, json=BODY).status_code == (201 if CREATE in held else 403)
    assert api.get(f"/v1/user/{owner.id}", key=key).status_code == (200 if READ in held else 403)


def test_key_of_a_demoted_owner(app: Flask, cast: Cast, api: Api) -> None:
    key = make_key(app, CREATE, owner=cast.ada)
    execute(app, "UPDATE users SET global_role_id = 'role_member' WHERE id = :id", id=cast.ada.id)
    assert api.call("POST", "/v1/user/", key=key, json=BODY).status_code == 403


def test_key_has_no_more_than_its_scopes(app: Flask, cast: Cast, api: Api) -> None:
    key = make_key(app, READ, owner=cast.ada)
    assert api.call("POST", "/v1/user/", key=key, json=BODY).status_code == 403


def test_me_is_the_owner_of_the_key(app: Flask, cast: Cast, api: Api) -> None:
    key = make_key(app, owner=cast.ada)
    profile = api.get("/v1/user/me", key=key).json
    assert list(profile)[9:] == ["full_name", "last_login"]
    assert (profile["id"], profile["full_name"], profile["last_login"]) == (cast.ada.id, "Ada Lovelace", None)
    assert api.get("/v1/user/profile", key=key).json == profile
    current = api.get("/v1/user/current", key=key).json
    assert list(current) == list(profile)[:9]
    assert {**profile, **current} == profile


@pytest.mark.parametrize("path", ["me", "profile", "current"])
def test_service_key_has_no_owner(api: Api, path: str) -> None:
    answer = api.get(f"/v1/user/{path}")
    assert (answer.status_code, code(answer)) == (404, "USER_NOT_FOUND")


def test_last_use_is_written_once_a_minute(app: Flask, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for seconds, expected in ((0, 0), (59, 0), (60, 60), (61, 60), (200, 200)):
        monkeypatch.setattr(clock, "now", lambda at=start + timedelta(seconds=seconds): at)
        assert api.get("/v1/user/me").status_code == 404
        (used,) = rows(app, "SELECT last_used_at FROM api_keys")[0]
        moment = datetime.fromisoformat(str(used))
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        assert moment == start + timedelta(seconds=expected)


def test_last_use_that_cannot_be_written(
    app: Flask, cast: Cast, api: Api, events: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise Unavailable(driver_errors.AWAY)

    monkeypatch.setattr(database, "transaction", refuse)
    assert api.get(f"/v1/user/{cast.ada.id}").status_code == 200
    assert "last_used_skipped" in [one.getMessage() for one in events]


def test_last_use_waits_for_no_lock(app: Flask, api: Api) -> None:
    """Otherwise a writer that holds the lock for a minute would delay each read by the whole time budget."""
    with app.app_context():
        engine = db.engine
    lock = "BEGIN IMMEDIATE" if engine.dialect.name == "sqlite" else "SELECT id FROM api_keys FOR UPDATE"
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute(lock)
        start = time.monotonic()
        assert api.get("/v1/user/me").status_code == 404
        assert time.monotonic() - start < 2
    finally:
        connection.rollback()
        connection.close()
    assert rows(app, "SELECT last_used_at FROM api_keys") == [(None,)]


def test_permissions_of_roles() -> None:
    assert Role.ADMIN.permissions == ALL_PERMISSIONS == frozenset(Permission)
    assert {str(one) for one in Role.OPERATOR.permissions} == {"users:create", "users:read", "users:update"}
    assert {str(one) for one in Role.AUDITOR.permissions} == {"users:read", "audit:read"}
    assert permissions_of("role_member") == permissions_of(None) == permissions_of("role_unheard_of") == frozenset()


def test_unknown_scopes_allow_nothing(app: Flask, api: Api) -> None:
    """Scopes in the database that the code does not know."""
    execute(app, "UPDATE api_keys SET scopes = '[\"users:conquer\"]'")
    assert api.call("POST", "/v1/user/", json=BODY).status_code == 403


def test_conflict_names_the_user_to_readers(app: Flask, api: Api) -> None:
    """A key without users:read is not told who has the email."""
    user = make_user(app, "jo@example.com")
    assert api.create().json["error"]["details"]["user_id"] == user.id
    api.key = make_key(app, CREATE)
    assert "user_id" not in api.create().json["error"]["details"]
