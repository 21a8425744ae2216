"""Requests under one Idempotency-Key in parallel, in several processes, or after a lost COMMIT: one user."""

import json
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from support.api import Answer, Api
from support.databases import rows
from support.four_servers import FourServers
from support.idempotency import BODY, ONE, REUSED, code, counts, is_replayed, seen, send
from support.people import PASSWORD, make_key
from support.postgres_wire import Wire
from support.servers import Reply
from users import clock
from users.roles import Permission
from users.services import user_creation

pytestmark = pytest.mark.xdist_group("four")  # they share servers that one worker of xdist starts


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> "Held":
    """The next create, which does not end until the test lets it go."""
    return Held(monkeypatch)


class Held:
    """Holds the first create inside its transaction, after the inserts of the record and the user."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.inside, self.let_go, self.fails = threading.Event(), threading.Event(), False
        self._record: Callable[..., None] = user_creation.trail.record  # type: ignore[attr-defined]
        monkeypatch.setattr(user_creation.trail, "record", self._wait_and_record)  # type: ignore[attr-defined]

    def _wait_and_record(self, *arguments: Any) -> None:
        if not self.inside.is_set():
            self.inside.set()
            assert self.let_go.wait(60)
            if self.fails:
                raise RuntimeError
        self._record(*arguments)


def race(app: Flask, api: Api, held: Held, second: dict[str, str]) -> tuple[Answer, Answer]:
    """Send BODY and, while its transaction is open, `second`; return both answers."""
    with ThreadPoolExecutor(2) as pool:
        first: Future[Answer] = pool.submit(send, Api(app.test_client(), api.key))
        try:
            assert held.inside.wait(60)
            later: Future[Answer] = pool.submit(send, Api(app.test_client(), api.key), json=second)
            time.sleep(0.3)
            assert not later.done()  # it waits
        finally:
            held.let_go.set()
        return first.result(), later.result()


def test_same_request(app: Flask, api: Api, held: Held) -> None:
    first, second = race(app, api, held, BODY)
    assert seen(first) == seen(second)
    assert (first.status_code, is_replayed(first), is_replayed(second)) == (201, False, True)
    assert counts(app) == ONE


def test_other_body(app: Flask, api: Api, held: Held) -> None:
    first, second = race(app, api, held, {**BODY, "email": "sam@example.com"})
    assert (first.status_code, code(second)) == (201, REUSED)
    assert counts(app) == ONE


def test_first_one_fails(app: Flask, api: Api, held: Held) -> None:
    held.fails = True
    first, second = race(app, api, held, BODY)
    assert (first.status_code, second.status_code, is_replayed(second)) == (500, 201, False)
    assert counts(app) == ONE


def test_expired_record(app: Flask, api: Api, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    held.inside.set()
    assert send(api, json={**BODY, "email": "sam@example.com"}).status_code == 201
    held.inside.clear()
    later = clock.now() + timedelta(hours=24)
    monkeypatch.setattr(clock, "now", lambda: later)
    first, second = race(app, api, held, BODY)
    assert seen(first) == seen(second)
    assert (first.status_code, is_replayed(first), is_replayed(second)) == (201, False, True)
    assert counts(app) == {"users": 2, "records": 1, "acts": 2}


def test_different_bodies(app: Flask, api: Api) -> None:
    for number in range(10):
        together = threading.Barrier(2)

        def create(caller: int, number: int = number, together: threading.Barrier = together) -> Answer:
            together.wait()
            mine = Api(app.test_client(), api.key)
            return send(mine, f"key-{number}", json={**BODY, "email": f"{number}-{caller}@example.com"})

        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(create, range(2)))
        assert sorted(answer.status_code for answer in answers) == [201, 422]
        assert next(code(answer) for answer in answers if answer.status_code == 422) == REUSED
    assert counts(app) == {"users": 10, "records": 10, "acts": 10}


def test_fifty_through_four_processes(four: FourServers) -> None:
    key, name = make_key(four.app, Permission.USERS_CREATE), uuid.uuid4().hex
    body = {"email": f"{name}@example.com", "password": PASSWORD}
    together = threading.Barrier(50)

    def create(caller: int) -> Reply:
        together.wait()
        headers = {"Idempotency-Key": name}
        return four.servers[caller % 4].call("POST", "/v1/user/", key=key, body=body, headers=headers)

    with ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(create, range(50)))
    assert Counter(reply.status for reply in replies) == {201: 50}
    assert len({(reply.body, reply.headers["Location"]) for reply in replies}) == 1
    assert Counter(reply.headers["Idempotent-Replayed"] for reply in replies) == {None: 1, "true": 49}
    user_id = replies[0].json["id"]
    assert rows(four.app, "SELECT id FROM users WHERE email = :email", email=body["email"]) == [(user_id,)]
    assert rows(four.app, "SELECT action FROM audit_events WHERE target_id = :id", id=user_id) == [("user.create",)]
    assert not [server.log() for server in four.servers if "unexpected_error" in server.log()]


def test_header_sent_twice(four: FourServers) -> None:
    """A header that is sent twice arrives joined by a comma, in the same way each time."""
    key, name = make_key(four.app, Permission.USERS_CREATE), uuid.uuid4().hex
    body = json.dumps({"email": f"{name}@example.com", "password": PASSWORD})
    lines = ["POST /v1/user/ HTTP/1.1", "Host: 127.0.0.1", f"X-API-Key: {key}", "Content-Type: application/json"]
    lines += [f"Idempotency-Key: {name}", "Idempotency-Key: second", f"Content-Length: {len(body)}", "", body]
    replies = [server.send("\r\n".join(lines).encode()) for server in four.servers]
    assert Counter(reply.status for reply in replies) == {201: 4}
    assert [reply.headers["Idempotent-Replayed"] for reply in replies] == [None, "true", "true", "true"]
    ((kept,),) = rows(
        four.app, "SELECT idempotency_key FROM idempotency_records WHERE idempotency_key LIKE :name", name=f"{name}%"
    )
    assert kept == f"{name},second"


@pytest.mark.parametrize(("at_commit", "written"), [("lose", False), ("lose answer", True), ("hold", False)])
def test_retry_after_a_cut_commit(wire: Wire, wired_api: Api, at_commit: str, written: bool) -> None:
    app, name = wired_api.client.application, uuid.uuid4().hex
    body = {"email": f"{name}@example.com", "password": PASSWORD}
    assert send(wired_api, f"{name}-before", json={**body, "email": f"{name}@before.com"}).status_code == 201
    wire.at_commit = at_commit
    cut = send(wired_api, name, json=body)
    assert (cut.status_code, cut.json["error"]["details"]) == (503, {"outcome": "unknown"})
    wire.cut()  # Postgres still has the transaction open there
    first, second = (send(wired_api, name, json=body) for _ in range(2))
    assert [first.status_code, is_replayed(first), is_replayed(second)] == [201, written, True]
    assert seen(first) == seen(second)
    users = rows(app, "SELECT id FROM users WHERE email = :email", email=body["email"])
    assert users == [(first.json["id"],)]
    assert re.fullmatch(r"usr_[0-9a-f]{32}", users[0][0])
    assert len(rows(app, "SELECT id FROM audit_events WHERE target_id = :id", id=users[0][0])) == 1
