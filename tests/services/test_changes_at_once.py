"""Parallel changes in several server processes: one succeeds, the others get an error, none is half done."""

import uuid
from collections import Counter

import pytest

from support.databases import execute, rows
from support.four_servers import FourServers, at_once
from support.people import PASSWORD, make_key, make_user
from support.servers import Reply
from users.roles import Permission, Role
from users.storage.models import User

pytestmark = pytest.mark.xdist_group("four")  # they share servers that one worker of xdist starts


@pytest.fixture
def key(four: FourServers) -> str:
    """A service key that may do everything."""
    return make_key(four.app, *Permission)


def someone(four: FourServers, role: Role | None = None) -> User:
    """Return a new user."""
    return make_user(four.app, f"{uuid.uuid4().hex}@example.com", role)


@pytest.mark.parametrize("act", ["demote", "deactivate", "delete"])
def test_last_two_administrators(four: FourServers, act: str) -> None:
    execute(four.app, "UPDATE users SET global_role_id = NULL WHERE global_role_id = 'role_admin'")
    for attempt in range(4):
        execute(four.app, "UPDATE users SET global_role_id = NULL WHERE global_role_id = 'role_admin'")
        pair = [someone(four, Role.ADMIN) for _ in range(2)]
        keys = [make_key(four.app, *Permission, owner=user) for user in pair]

        def put_out(number: int, pair: list[User] = pair, keys: list[str] = keys, attempt: int = attempt) -> Reply:
            server, path = four.servers[(number + attempt) % 4], f"/v1/user/{pair[1 - number].id}"
            if act == "delete":
                return server.call("DELETE", path, key=keys[number])
            body = {"global_role_id": "role_member"} if act == "demote" else {"is_active": False}
            return server.call("PATCH", path, key=keys[number], body=body)

        replies = at_once([lambda: put_out(0), lambda: put_out(1)])
        # The second one is the last administrator by then, or no administrator any more when its key is checked.
        assert sorted(reply.status for reply in replies)[0] == 200, [reply.body for reply in replies]
        (refused,) = [reply.code for reply in replies if reply.status != 200]
        assert refused in ("LAST_ADMINISTRATOR", "INSUFFICIENT_PERMISSIONS", "API_KEY_DEACTIVATED")
        left = "SELECT count(*) FROM users WHERE global_role_id = 'role_admin' AND is_active AND deleted_at IS NULL"
        assert rows(four.app, left) == [(1,)]


def test_same_email(four: FourServers, key: str) -> None:
    wanted = f"{uuid.uuid4().hex}@example.com"
    users = [someone(four) for _ in range(6)]

    def take(number: int) -> Reply:
        path = f"/v1/user/{users[number].id}"
        return four.servers[number % 4].call("PATCH", path, key=key, body={"email": wanted.upper(), "first_name": "x"})

    def create(number: int) -> Reply:
        body = {"email": wanted, "password": PASSWORD}
        return four.servers[number % 4].call("POST", "/v1/user/", key=key, body=body)

    replies = at_once([lambda n=number: (create if n % 3 == 2 else take)(n) for number in range(6)])  # type: ignore[misc]
    (made,) = [reply.json["id"] for reply in replies if reply.status in (200, 201)]
    refused = [reply.json["error"] for reply in replies if reply.status not in (200, 201)]
    assert {(error["status"], error["code"]) for error in refused} == {(409, "USER_ALREADY_EXISTS")}
    assert {error["details"]["user_id"] for error in refused} == {made}
    assert rows(four.app, "SELECT id FROM users WHERE email_key = :key", key=wanted) == [(made,)]
    changed = {row[0] for row in rows(four.app, "SELECT id FROM users WHERE first_name = 'x'")}
    assert changed & {user.id for user in users} <= {made}
    assert not [server.log() for server in four.servers if "unexpected_error" in server.log()]


def test_if_match(four: FourServers, key: str) -> None:
    user = someone(four)
    path = f"/v1/user/{user.id}"
    for attempt in range(3):
        tag = four.servers[0].call("GET", path, key=key).headers["ETag"]

        def change(number: int, tag: str = tag, attempt: int = attempt) -> Reply:
            headers, body = {"If-Match": tag}, {"last_name": f"{attempt} {number}"}
            return four.servers[number].call("PATCH", path, key=key, body=body, headers=headers)

        replies = at_once([lambda n=number: change(n) for number in range(4)])  # type: ignore[misc]
        assert Counter(reply.status for reply in replies) == {200: 1, 412: 3}
        (made,) = [reply for reply in replies if reply.status == 200]
        now = four.servers[1].call("GET", path, key=key)
        assert now.json["last_name"] == made.json["last_name"]
        assert now.headers["ETag"] == made.headers["ETag"] != tag
    updates = "SELECT count(*) FROM audit_events WHERE action = 'user.update' AND target_id = :id"
    assert rows(four.app, updates, id=user.id) == [(3,)]


def test_deletes(four: FourServers, key: str) -> None:
    user = someone(four)
    replies = at_once(
        [lambda n=number: four.servers[n].call("DELETE", f"/v1/user/{user.id}", key=key) for number in range(4)]  # type: ignore[misc]
    )
    assert Counter(reply.status for reply in replies) == {200: 1, 404: 3}
    deletions = "SELECT count(*) FROM audit_events WHERE action = 'user.delete' AND target_id = :id"
    assert rows(four.app, deletions, id=user.id) == [(1,)]


def test_restores(four: FourServers, key: str) -> None:
    """Restores of one user at once are one, with one audit row."""
    user = someone(four)
    make_key(four.app, Permission.USERS_READ, owner=user)
    assert four.servers[0].call("DELETE", f"/v1/user/{user.id}", key=key).status == 200
    path = f"/v1/user/{user.id}/restore"
    replies = at_once([lambda n=number: four.servers[n % 4].call("POST", path, key=key) for number in range(8)])  # type: ignore[misc]
    assert Counter(reply.status for reply in replies) == {200: 8}
    assert len({reply.body for reply in replies}) == 1
    acts = "SELECT count(*) FROM audit_events WHERE action = :act AND target_id = :id"
    assert rows(four.app, acts, act="user.restore", id=user.id) == [(1,)]
    ((key_id,),) = rows(four.app, "SELECT id FROM api_keys WHERE owner_id = :id", id=user.id)
    assert rows(four.app, acts, act="key.revoke", id=key_id) == [(1,)]


def test_restores_beside_creates(four: FourServers, key: str) -> None:
    """Of two deleted users with one email and new ones with it, one gets it."""
    for _ in range(3):
        wanted = f"{uuid.uuid4().hex}@example.com"
        gone = []
        for _ in range(2):
            gone.append(make_user(four.app, wanted))
            assert four.servers[0].call("DELETE", f"/v1/user/{gone[-1].id}", key=key).status == 200

        def act(number: int, wanted: str = wanted, gone: list[User] = gone) -> Reply:
            server = four.servers[number % 4]
            if number % 3 == 2:
                return server.call("POST", "/v1/user/", key=key, body={"email": wanted, "password": PASSWORD})
            return server.call("POST", f"/v1/user/{gone[number % 3].id}/restore", key=key)

        replies = at_once([lambda n=number: act(n) for number in range(6)])  # type: ignore[misc]
        (made,) = {reply.json["id"] for reply in replies if reply.status in (200, 201)}
        refused = [reply.json["error"] for reply in replies if reply.status not in (200, 201)]
        assert {(error["status"], error["code"]) for error in refused} == {(409, "USER_ALREADY_EXISTS")}
        assert {error["details"]["user_id"] for error in refused} == {made}
        holders = "SELECT id FROM users WHERE email_key = :key AND deleted_at IS NULL"
        assert rows(four.app, holders, key=wanted) == [(made,)]
        restored = "SELECT target_id FROM audit_events WHERE action = 'user.restore' AND target_id IN (:one, :other)"
        assert [row[0] for row in rows(four.app, restored, one=gone[0].id, other=gone[1].id)] in ([], [made])
    assert not [server.log() for server in four.servers if "unexpected_error" in server.log()]


def test_wrong_passwords(four: FourServers, key: str) -> None:
    user = someone(four)
    body = {"email": user.email, "password": "wrong horse battery"}
    replies = at_once(
        [
            lambda n=number: four.servers[n % 4].call("POST", "/v1/user/verify-password", key=key, body=body)  # type: ignore[misc]
            for number in range(24)
        ]
    )
    assert Counter(reply.status for reply in replies) == {200: 10, 429: 14}
    assert {reply.body for reply in replies if reply.status == 200} == {b'{"valid":false}\n'}
