"""Other bodies under a used Idempotency-Key: ten are compared in five minutes."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from support.api import Answer, Api
from support.databases import rows
from support.idempotency import BODY, ONE, REUSED, code, counts, seen, send
from users import clock

TOO_MANY = (429, "RATE_LIMIT_EXCEEDED")


def guess(api: Api, number: int, **more: Any) -> Answer:
    """Send the request with another password."""
    return send(api, json={**BODY, "password": f"guess number {number}"}, **more)


@pytest.mark.parametrize("query", ["", "?validate_only=true"])
def test_limit_of_other_bodies(app: Flask, api: Api, query: str) -> None:
    """Else a used key would tell right passwords from wrong ones, without a limit, a hash or an audit row."""
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


def test_limit_ends_after_five_minutes(app: Flask, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    first = send(api)
    for number in range(11):
        guess(api, number)
    later = clock.now() + timedelta(minutes=5, seconds=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert seen(send(api)) == seen(first)


def test_parallel_other_bodies(app: Flask, api: Api) -> None:
    send(api)

    def compare(number: int) -> tuple[int, str]:
        return code(guess(Api(app.test_client(), api.key), number))

    with ThreadPoolExecutor(16) as pool:
        assert Counter(pool.map(compare, range(40))) == {REUSED: 10, TOO_MANY: 30}
    assert len(rows(app, "SELECT 1 FROM audit_events WHERE outcome = 'throttled'")) == 1


def test_same_body_is_not_counted(app: Flask, api: Api) -> None:
    send(api)
    for number in range(9):
        guess(api, number)
    for _ in range(15):
        assert send(api).status_code == 201
    assert code(guess(api, 9)) == REUSED
