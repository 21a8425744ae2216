"""Rate limits in one process: the requests of a key, and the wrong keys from an IP address."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask

from support.api import Answer, Api
from support.clocks import SteadyClock
from support.databases import execute
from support.error_responses import ExpectedError, check_error, logged
from support.people import make_key, make_user
from users import clock, rate_limits
from users.errors import RateLimitExceeded
from users.rate_limits import Buckets, Rate
from users.roles import Permission
from users.rules import key_format

pytestmark = pytest.mark.one_database

LIMIT, REMAINING, RESET = (f"x-ratelimit-{name}-requests" for name in ("limit", "remaining", "reset"))
REFUSED = ExpectedError(429, "RATE_LIMIT_EXCEEDED", "rate_limit_error")
SMALL = pytest.mark.parametrize("settings", [{"ENROL_RATE_LIMIT": "3/minute"}])


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> SteadyClock:
    """The monotonic clock, moved by the test."""
    moved = SteadyClock()
    monkeypatch.setattr(clock, "monotonic", moved)
    return moved


def granted(buckets: Buckets, key: str = "key", *, of: int) -> int:
    """Return how many of so many requests are granted."""
    return sum(buckets.take(key).granted for _ in range(of))


@pytest.mark.parametrize("rate", [Rate(1, 1), Rate(7, 1), Rate(100, 60), Rate(6000, 60), Rate(10, 3600)])
def test_bucket_refills_evenly(time: SteadyClock, rate: Rate) -> None:
    buckets = Buckets(rate)
    assert granted(buckets, of=rate.requests + 5) == rate.requests
    time.seconds += rate.seconds / rate.requests * 1.001
    assert granted(buckets, of=5) == 1
    time.seconds += rate.seconds / 2
    assert granted(buckets, of=rate.requests) == rate.requests // 2
    time.seconds += rate.seconds * 100
    assert granted(buckets, of=rate.requests + 5) == rate.requests, "a pause makes it no fuller than full"


def test_retry_after(time: SteadyClock) -> None:
    """A refusal says when the next request is granted."""
    buckets = Buckets(Rate(2, 60))
    assert granted(buckets, of=2) == 2
    time.seconds += 10
    with pytest.raises(RateLimitExceeded) as refused:
        buckets.take("key").require()
    assert refused.value.headers == {"Retry-After": "20"}
    time.seconds += 20
    buckets.take("key").require()


def test_bucket_for_each_key(time: SteadyClock) -> None:
    buckets = Buckets(Rate(2, 60))
    assert [granted(buckets, key, of=5) for key in ("a", "b")] == [2, 2]


def test_parallel_burst(time: SteadyClock) -> None:
    """It gets no more than the limit."""
    buckets, together = Buckets(Rate(50, 60)), threading.Barrier(20)

    def burst(_number: int) -> int:
        together.wait()
        return granted(buckets, of=20)

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(burst, range(20))) == 50


def test_full_buckets_are_removed(time: SteadyClock) -> None:
    buckets = Buckets(Rate(10, 60))
    for number in range(10_000):
        buckets.take(str(number))
    time.seconds += 59
    assert granted(buckets, "busy", of=15) == 10
    time.seconds += 2
    buckets.take("late")
    assert len(buckets) == 2
    assert granted(buckets, "busy", of=5) == 0, "one that is not full is kept"


@SMALL
def test_headers(app: Flask, api: Api, time: SteadyClock) -> None:
    """Each response to a key has the rate limit headers."""
    answer = api.get("/v1/user/me")
    assert (answer.status_code, stand(answer)) == (404, ("3", "2", "20"))
    answer = api.create()
    assert (answer.status_code, stand(answer)) == (201, ("3", "1", "40"))
    answer = api.call("POST", "/v1/user/", data=b"{")
    assert (answer.status_code, stand(answer)) == (415, ("3", "0", "60"))
    answer = api.create()
    check_error(answer, REFUSED)
    assert (stand(answer), answer.headers["Retry-After"]) == (("3", "0", "60"), "20")
    time.seconds += 20
    assert stand(api.get("/v1/user/me")) == ("3", "0", "60")


def stand(answer: Answer) -> tuple[str | None, ...]:
    """Return the values of the rate limit headers."""
    return tuple(answer.headers.get(name) for name in (LIMIT, REMAINING, RESET))


@SMALL
def test_order_of_checks(app: Flask, api: Api, time: SteadyClock) -> None:
    """The rate is checked after the permissions and before the body."""
    weak = make_key(app)
    for remaining in ("2", "1", "0", "0"):
        answer = api.call("POST", "/v1/user/", key=weak, data=b"{")
        assert (answer.status_code, answer.headers[REMAINING]) == (403, remaining)
    for status in (415, 415, 415, 429, 429):
        assert api.call("POST", "/v1/user/", data=b"{").status_code == status


@SMALL
def test_limit_for_each_key(app: Flask, api: Api, time: SteadyClock) -> None:
    assert [api.get("/v1/user/me").status_code for _ in range(4)] == [404, 404, 404, 429]
    other = make_key(app, Permission.USERS_READ)
    assert api.get("/v1/user/me", key=other).status_code == 404


@SMALL
def test_no_headers_without_a_key(app: Flask, api: Api) -> None:
    owner = make_user(app, "jo@example.com")
    stopped = make_key(app, owner=owner)
    execute(app, "UPDATE users SET is_active = false")
    for path, key in (("me", None), ("me", "ak_wrong"), ("me", stopped)):
        answer = api.get(f"/v1/user/{path}", key=key)
        assert (answer.status_code, stand(answer)) == (401, (None, None, None))
    for answer in (api.get("/v1/nothing"), api.call("PUT", "/v1/user/"), api.call("DELETE", "/v1/user/me")):
        assert answer.status_code in (404, 405)
        assert stand(answer) == (None, None, None)  # the key was not looked at
    assert api.get("/v1/user/me").headers[REMAINING] == "2"
    assert stand(api.get("/admin/login")) == (None, None, None)


@pytest.mark.parametrize("settings", [{"ENROL_RATE_LIMIT": "off"}])
def test_limit_is_off(api: Api, time: SteadyClock) -> None:
    """Then no response has rate limit headers."""
    answers = [api.get("/v1/user/me") for _ in range(50)]
    assert {(answer.status_code, stand(answer)) for answer in answers} == {(404, (None, None, None))}


def test_default(api: Api, time: SteadyClock) -> None:
    assert stand(api.get("/v1/user/me")) == ("6000", "5999", "1")


def wrong(api: Api, address: str = "198.51.100.7", key: str = "ak_wrong", **headers: str) -> Answer:
    """Send a wrong key."""
    return api.get("/v1/user/me", key=key, environ_overrides={"REMOTE_ADDR": address}, headers=headers)


@pytest.fixture
def few(app: Flask, monkeypatch: pytest.MonkeyPatch, time: SteadyClock) -> int:
    """A limit of five wrong keys a minute from one IP address."""
    assert Rate(100, 60) == rate_limits.WRONG_KEYS
    app.extensions["enrol.wrong_key_buckets"] = Buckets(Rate(5, 60))
    return 5


@pytest.mark.parametrize("key", ["ak_wrong", "well formed", "Bearer ak_wrong"])
def test_wrong_keys(app: Flask, api: Api, few: int, time: SteadyClock, key: str) -> None:
    """Wrong keys from one IP address are limited."""
    sent = key_format.new_key() if key == "well formed" else key
    statuses = [wrong(api, key=sent).status_code for _ in range(few + 2)]
    assert statuses == [401] * few + [429] * 2
    answer = wrong(api, key=sent)
    check_error(answer, REFUSED)
    assert answer.headers["Retry-After"] == "12"
    assert stand(answer) == (None, None, None)
    assert wrong(api, "198.51.100.8").status_code == 401
    time.seconds += 12
    assert [wrong(api, key=sent).status_code for _ in range(2)] == [401, 429]


def test_good_key_after_wrong_keys(app: Flask, api: Api, few: int) -> None:
    """Wrong keys from the same IP address never limit a good key."""
    assert [wrong(api).status_code for _ in range(few + 1)][-1] == 429
    for _ in range(20):
        assert wrong(api, key=api.key or "").status_code == 404
    assert wrong(api).status_code == 429


def test_keys_that_do_not_count(app: Flask, api: Api, few: int) -> None:
    """A missing key and a real key that has ended do not count."""
    execute(app, "UPDATE api_keys SET deactivated_at = created_at")
    for _ in range(few + 5):
        assert wrong(api, key="").status_code == 401
        assert wrong(api, key=api.key or "").json["error"]["code"] == "API_KEY_DEACTIVATED"
    assert wrong(api).status_code == 401


def test_wrong_keys_write_nothing(app: Flask, api: Api, events: list[logging.LogRecord], few: int) -> None:
    """Callers without a key cannot make the database write, and without a well-formed key not even read."""
    execute(app, "ALTER TABLE api_keys RENAME TO elsewhere")
    try:
        assert [wrong(api).status_code for _ in range(few + 1)] == [401] * few + [429]
    finally:
        execute(app, "ALTER TABLE elsewhere RENAME TO api_keys")
    assert logged(events, "request")["code"] == "RATE_LIMIT_EXCEEDED"


def test_ipv6_networks(api: Api, few: int) -> None:
    """Neighbours on IPv6, and mapped IPv4, count as one caller."""
    for number in range(few):
        assert wrong(api, f"2001:db8:1:2:{number}::{number}").status_code == 401
    assert wrong(api, "2001:db8:1:2:ffff:ffff:ffff:ffff").status_code == 429
    assert wrong(api, "2001:db8:1:3::1").status_code == 401
    for _ in range(few):
        assert wrong(api, "::ffff:198.51.100.7").status_code == 401
    assert wrong(api, "198.51.100.7").status_code == 429


@pytest.mark.parametrize("settings", [{}, {"ENROL_TRUSTED_PROXIES": "1"}], ids=["no proxy", "one proxy"])
def test_forwarded_by_a_client(api: Api, few: int) -> None:
    """Without a proxy no header counts. With one only the part counts that the proxy added, at the right end."""
    sent = [wrong(api, **{"X-Forwarded-For": f"203.0.113.{number}, 192.0.2.1"}).status_code for number in range(9)]
    assert sent == [401] * few + [429] * (9 - few)


@pytest.mark.parametrize("settings", [{"ENROL_TRUSTED_PROXIES": "1"}])
def test_callers_behind_a_trusted_proxy(api: Api, few: int) -> None:
    """They count apart."""
    sent = [wrong(api, **{"X-Forwarded-For": f"203.0.113.{number}"}).status_code for number in range(9)]
    assert sent == [401] * 9
