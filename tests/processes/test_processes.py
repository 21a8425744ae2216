"""Several server processes on one database are one service, and answer a badly made request like any other."""

import stat
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from urllib.parse import quote

import pytest
from flask import Flask

from support.databases import execute, rows
from support.four_servers import FourServers
from support.people import PASSWORD, make_key, make_user
from support.servers import KINDS, Reply, Server
from users import clock
from users.roles import Permission, Role
from users.rules import emails
from users.storage import schema_version
from users.storage.models import User

pytestmark = pytest.mark.xdist_group("four")  # they share servers, which one worker of xdist starts

# All the same email when they are compared: case, NFKC (ligature, long s, full width) and the domain's IDNA form.
VARIANTS = (
    "strasse{}@bücher.com",
    "STRASSE{}@BÜCHER.COM",
    "straße{}@xn--bcher-kva.com",
    "ﬆraße{}@XN--BCHER-KVA.com",
    "Straſſe{}@Bücher.com",
    "ｓｔｒａｓｓｅ{}@bu\u0308cher.com",
)


@pytest.fixture
def owner(four: FourServers) -> User:
    """An operator of the test's own."""
    return make_user(four.app, f"{uuid.uuid4().hex}@example.com", Role.OPERATOR)


@pytest.fixture
def key(four: FourServers, owner: User) -> str:
    """A key of the owner, who may create and read users."""
    return make_key(four.app, Permission.USERS_CREATE, Permission.USERS_READ, owner=owner)


@pytest.mark.one_database
def test_slashes_of_an_email(four: FourServers, key: str) -> None:
    """Each server passes on all slashes and dots of an email in a path, percent-encoded or not."""
    local_part = uuid.uuid4().hex
    for email in (f"/{local_part}@example.com", f"//{local_part}//b@example.com", f"a/./{local_part}@example.com"):
        user = make_user(four.app, email).as_user()
        for server in four.servers:
            for path in (quote(email), quote(email, safe=""), quote(email) + "/"):
                assert server.call("GET", f"/v1/user/email/{path}", key=key).json == user


def test_first_start_of_four(
    start_four: Callable[[str], FourServers],
) -> None:
    """Four servers that start together make one database and one secret key."""
    four = start_four("sqlite")
    made = {path.name: stat.S_IMODE(path.stat().st_mode) for path in four.installation.instance.iterdir()}
    # No temporary file is left, and no other user can read the files.
    assert set(made) - {"enrol.db-wal", "enrol.db-shm"} == {"enrol.db", "enrol.db.lock", "secret_key"}
    assert set(made.values()) == {0o600}
    logs = [server.log() for server in four.servers]
    assert sum(log.count(f"Database brought to {schema_version.HEAD}.") for log in logs) == 1, logs
    user = {"email": f"{uuid.uuid4().hex}@example.com", "password": PASSWORD}
    key = make_key(four.app, Permission.USERS_CREATE)
    assert [server.call("POST", "/v1/user/", key=key, body=user).status for server in four.servers] == [
        201,
        409,
        409,
        409,
    ]


def test_fifty_creates_of_one_email(four: FourServers, key: str) -> None:
    """Fifty parallel creates of one email make one user."""
    number = uuid.uuid4().hex
    together = threading.Barrier(50)

    def create(caller: int) -> Reply:
        body = {"email": VARIANTS[caller % len(VARIANTS)].format(number), "password": PASSWORD}
        together.wait()
        return four.servers[caller % 4].call("POST", "/v1/user/", key=key, body=body)

    before = _audit_rows(four.app)
    with ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(create, range(50)))
    assert Counter(reply.status for reply in replies) == {201: 1, 409: 49}
    created = next(reply.json for reply in replies if reply.status == 201)
    conflicts = [reply.json["error"] for reply in replies if reply.status == 409]
    assert {error["code"] for error in conflicts} == {"USER_ALREADY_EXISTS"}
    assert {error["details"]["user_id"] for error in conflicts} == {created["id"]}
    email_key = emails.parse_email(VARIANTS[0].format(number)).key
    assert rows(four.app, "SELECT id FROM users WHERE email_key = :key", key=email_key) == [(created["id"],)]
    assert _audit_rows(four.app) == before + 1
    assert rows(four.app, "SELECT action FROM audit_events WHERE target_id = :id", id=created["id"]) == [
        ("user.create",)
    ]
    assert not [server.log() for server in four.servers if "unexpected_error" in server.log()]


def _audit_rows(app: Flask) -> int:
    return int(rows(app, "SELECT count(*) FROM audit_events WHERE action = 'user.create'")[0][0])


def _revoke(four: FourServers, key_id: str, _owner: User) -> None:
    done = four.installation.flask("keys", "revoke", key_id, "--yes")
    assert done.returncode == 0, done.stderr


def _deactivate(four: FourServers, _key_id: str, owner: User) -> None:
    done = four.installation.flask("users", "deactivate", owner.email)
    assert done.returncode == 0, done.stderr


def _expire(four: FourServers, key_id: str, _owner: User) -> None:
    past = clock.now() - timedelta(seconds=1)
    execute(four.app, "UPDATE api_keys SET expires_at = :past WHERE id = :id", past=past, id=key_id)


@pytest.mark.parametrize(
    ("stop", "code"),
    [(_revoke, "API_KEY_DEACTIVATED"), (_deactivate, "API_KEY_DEACTIVATED"), (_expire, "API_KEY_EXPIRED")],
)
def test_key_stops_everywhere(
    four: FourServers, owner: User, key: str, stop: Callable[[FourServers, str, User], None], code: str
) -> None:
    """A key that ends is refused at the next request by every process."""
    for server in four.servers:
        assert server.call("GET", "/v1/user/me", key=key).json["id"] == owner.id
    (key_id,) = rows(four.app, "SELECT id FROM api_keys WHERE owner_id = :owner", owner=owner.id)[0]
    stop(four, key_id, owner)
    for server in four.servers:
        reply = server.call("GET", "/v1/user/me", key=key)
        assert (reply.status, reply.code) == (401, code)


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, start_four: Callable[[str], FourServers]) -> Server:
    """One of the servers on SQLite, of each kind."""
    return start_four("sqlite").servers[KINDS.index(request.param)]


@pytest.fixture
def service_key(start_four: Callable[[str], FourServers]) -> str:
    """A key of the service itself, which may create users."""
    return make_key(start_four("sqlite").app, Permission.USERS_CREATE)


def _request(line: str, *headers: str, body: bytes = b"") -> bytes:
    head = [f"{line} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


def _user() -> bytes:
    return b'{"email": "%s@example.com", "password": "correct horse battery"}' % uuid.uuid4().hex.encode()


def _chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


def _enveloped(reply: Reply) -> tuple[int, str]:
    """Return the status and the code, having looked at the envelope."""
    error = reply.json["error"]
    assert error["status"] == reply.status
    assert error["trace_id"] == reply.headers["X-Request-Id"]
    return reply.status, error["code"]


def test_two_keys_are_no_key(server: Server, service_key: str) -> None:
    body = _user()
    twice = [f"X-API-Key: {service_key}"] * 2
    reply = server.send(_request("POST /v1/user/", *twice, f"Content-Length: {len(body)}", body=body))
    assert _enveloped(reply) == (401, "AUTHENTICATION_REQUIRED")
    assert reply.headers["WWW-Authenticate"] == 'Bearer realm="enrol"'


@pytest.mark.parametrize("header", ["X-API-Key: ak_é", "X-API-Key: \u00ff", "Authorization: Bearer ключ"])
def test_key_with_other_characters(server: Server, header: str) -> None:
    """A key with characters outside ASCII is answered as a wrong key."""
    assert _enveloped(server.send(_request("GET /v1/user/me", header))) == (401, "AUTHENTICATION_REQUIRED")


def test_headers_with_other_characters(server: Server, service_key: str) -> None:
    """A request id or media type outside ASCII is not used."""
    body = _user()
    head = [f"X-API-Key: {service_key}", f"Content-Length: {len(body)}"]
    reply = server.send(_request("POST /v1/user/", *head, "X-Request-Id: req_éééééééé", body=body))
    assert reply.status == 201
    assert reply.headers["X-Request-Id"].isascii()
    raw = _request("POST /v1/user/", *head, body=body).replace(b"application/json", b"application/js\xf6n")
    assert _enveloped(server.send(raw)) == (415, "UNSUPPORTED_MEDIA_TYPE")


def test_a_malformed_chunk_is_invalid_json(server: Server, service_key: str) -> None:
    head = [f"X-API-Key: {service_key}", "Transfer-Encoding: chunked"]
    reply = server.send(_request("POST /v1/user/", *head, body=b"zz\r\n" + _user() + b"\r\n0\r\n\r\n"))
    assert _enveloped(reply) == (400, "INVALID_JSON")


def test_chunked_body(server: Server, service_key: str) -> None:
    """A chunked body is read, and refused when it is too large."""
    head = [f"X-API-Key: {service_key}", "Transfer-Encoding: chunked"]
    user = _user()
    parts = _chunk(user[:20]) + _chunk(user[20:]) + _chunk(b"")
    assert server.send(_request("POST /v1/user/", *head, body=parts)).status == 201
    # Only white space is over the limit: cut off there, the body would pass.
    parts = _chunk(_user() + b" " * 40_000) + _chunk(b" " * 40_000) + _chunk(b"")
    assert _enveloped(server.send(_request("POST /v1/user/", *head, body=parts))) == (413, "PAYLOAD_TOO_LARGE")


def test_announced_length(server: Server, service_key: str) -> None:
    """A body of more than 64 KiB is refused before it is read."""
    body = _user() + b" " * 65_536
    head = [f"X-API-Key: {service_key}"]
    reply = server.send(_request("POST /v1/user/", *head, f"Content-Length: {len(body)}", body=body))
    assert _enveloped(reply) == (413, "PAYLOAD_TOO_LARGE")
    # Announced and not sent: the answer does not wait for it.
    reply = server.send(_request("POST /v1/user/", *head, "Content-Length: 99999999"))
    assert _enveloped(reply) == (413, "PAYLOAD_TOO_LARGE")
    assert reply.seconds < 2


def test_body_without_a_key(server: Server) -> None:
    """A caller without a key gets 401, whatever the body is."""
    reply = server.send(_request("POST /v1/user/", "Content-Length: 99999999"))
    assert _enveloped(reply) == (401, "AUTHENTICATION_REQUIRED")


def test_path_without_the_slash(server: Server, service_key: str) -> None:
    """The path without its last slash is answered without a redirect."""
    body = _user()
    head = [f"X-API-Key: {service_key}", f"Content-Length: {len(body)}"]
    reply = server.send(_request("POST /v1/user", *head, body=body))
    assert reply.status == 201
    assert reply.headers["Location"].startswith("/v1/user/usr_")


def test_a_doubled_slash_is_another_path(server: Server, service_key: str) -> None:
    body = _user()
    head = [f"X-API-Key: {service_key}", f"Content-Length: {len(body)}"]
    assert _enveloped(server.send(_request("POST /v1//user/", *head, body=body))) == (404, "NOT_FOUND")


def test_options_is_a_method_like_another(server: Server) -> None:
    reply = server.send(_request("OPTIONS /v1/user/"))
    assert _enveloped(reply) == (405, "METHOD_NOT_ALLOWED")
    assert "POST" in reply.headers["Allow"]
    assert "OPTIONS" not in reply.headers["Allow"]
    assert not [name for name in reply.headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize(("method", "path"), [("DELETE", ""), ("POST", "/verification"), ("GET", "")])
def test_unread_body(server: Server, start_four: Callable[[str], FourServers], method: str, path: str) -> None:
    """After a body that it did not read, the server closes the connection: no later request is lost on it."""
    app = start_four("sqlite").app
    user, key = make_user(app, f"{uuid.uuid4().hex}@example.com"), make_key(app, *Permission)
    body = b'{"note": "%s"}' % (b"x" * 60_000)
    request = _request(
        f"{method} /v1/user/{user.id}{path}", f"X-API-Key: {key}", f"Content-Length: {len(body)}", body=body
    )
    reply = server.send(request)
    assert reply.status in (200, 201)
    assert reply.headers["Connection"] == "close"  # else the client would send the next one into a closing connection
