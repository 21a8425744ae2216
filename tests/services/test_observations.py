"""What requests reveal about proxies and addresses is logged, kept, and told by `flask doctor`."""

import logging
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from support.api import Answer, Api
from support.clocks import SteadyClock
from support.command_line import run
from support.databases import execute, rows
from support.people import PASSWORD, Cast
from support.visitors import LOGIN, token_in
from users import clock
from users import settings as users_settings
from users.rules import hosts
from users.services import observations
from users.services.observations import KEPT

HERE, BROWSER = "http://127.0.0.1", "https://127.0.0.1:8443"
SAME = {"Sec-Fetch-Site": "same-origin"}
UNKNOWN = f"A browser sent a form from {BROWSER}, but Enrol takes {HERE} for its own address."
TODO = f"set ENROL_PUBLIC_URL to {BROWSER}."

pytestmark = pytest.mark.one_database


def sign_in(app: Flask, *, base_url: str = HERE, **headers: str) -> Answer:
    """Sign Ada in with these headers on the form."""
    client = app.test_client()
    fields = {"email": "ada@example.com", "password": PASSWORD}
    token = token_in(client.get(LOGIN, base_url=base_url))
    return client.post(LOGIN, base_url=base_url, data={**fields, "csrf_token": token}, headers=headers)


def told(app: Flask) -> str:
    """Return the line of doctor about requests."""
    lines: list[str] = run(app.test_cli_runner(), "doctor").stdout.splitlines()
    return next(line for line in lines if line[5:].startswith("requests: "))


def advice_in(events: list[logging.LogRecord]) -> list[str]:
    """Return the advice that the service logged."""
    found: list[dict[str, Any]] = [
        event.__dict__["fields"] for event in events if event.msg % event.args == "set_up_advice"
    ]
    return [fields["message"] for fields in found]


@pytest.mark.usefixtures("cast")
def test_unknown_address(app: Flask, events: list[logging.LogRecord]) -> None:
    """A form from another address of this service is taken, logged once and told by doctor."""
    for _ in range(3):
        assert sign_in(app, **SAME, Origin=BROWSER).status_code == 303
    (logged,) = advice_in(events)
    assert UNKNOWN in logged
    assert TODO in logged
    assert told(app).startswith(f"warn requests: {logged} (Seen last on ")


@pytest.mark.usefixtures("cast")
def test_refused_address(app: Flask, events: list[logging.LogRecord]) -> None:
    """Without Sec-Fetch-Site it is refused; the page, the log and doctor name both addresses and the setting."""
    answer = sign_in(app, Origin=BROWSER)
    assert answer.status_code == 403
    for words in (answer.text, *advice_in(events), told(app)):
        assert UNKNOWN in words
        assert TODO in words


@pytest.mark.parametrize("settings", [{"ENROL_PUBLIC_URL": "https://users.example.com", "ENROL_TRUSTED_PROXIES": "1"}])
@pytest.mark.usefixtures("cast")
def test_public_url_that_does_not_fit(app: Flask) -> None:
    """Also where the form is taken, because the proxy sends the browser's own address as Host."""
    words = f"from {BROWSER}, but ENROL_PUBLIC_URL is https://users.example.com. If people open {BROWSER}, {TODO}"
    assert words in sign_in(app, Origin=BROWSER).text
    assert words in told(app)
    execute(app, "DELETE FROM observations")
    app.extensions["enrol.observations"].clear()
    other = "https://other.example.com"
    assert sign_in(app, base_url=other, Origin=other).status_code == 303
    assert f"from {other}, but ENROL_PUBLIC_URL is https://users.example.com." in told(app)


@pytest.mark.parametrize(
    ("settings", "base_url", "origin"),
    [
        ({}, "http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ({}, "http://xn--bcher-kva.example", "http://xn--bcher-kva.example"),
        (
            {"ENROL_PUBLIC_URL": "https://users.example.com:443"},
            "https://users.example.com",
            "https://users.example.com",
        ),
        ({"ENROL_PUBLIC_URL": BROWSER}, HERE, BROWSER),
        ({"ENROL_PUBLIC_URL": "https://users.example.com"}, "http://127.0.0.1:5000", "http://127.0.0.1:5000"),
    ],
)
@pytest.mark.usefixtures("cast")
def test_address_that_fits(app: Flask, base_url: str, origin: str, events: list[logging.LogRecord]) -> None:
    """The last is the operator at the service itself."""
    with_site, without = (
        sign_in(app, base_url=base_url, Origin=origin, **SAME),
        sign_in(app, base_url=base_url, Origin=origin),
    )
    assert {with_site.status_code, without.status_code} == {303}
    assert advice_in(events) == []
    assert told(app) == "ok   requests: the settings fit what was seen"


@pytest.mark.usefixtures("cast")
def test_hidden_origin(app: Flask) -> None:
    """`Referrer-Policy: no-referrer` of a proxy makes it null. Forms are taken where Sec-Fetch-Site says where from."""
    assert sign_in(app, Origin="null", **SAME).status_code == 303
    assert "take that out" in told(app)
    refused = sign_in(app, Origin="null")
    assert refused.status_code == 403
    assert "Referrer-Policy: no-referrer" in refused.text


@pytest.mark.parametrize(
    "origin",
    [
        "https://a.example/<script>alert(1)</script>",
        "https://a.example' OR 1=1 --",
        "https://" + "a" * 5000,
        "https://me:hunter2@a.example",
        "javascript:alert(1)",
        "https://a.example:999999",
        "chrome-extension://abcdef",
        "https://a\u00e9.example",
    ],
)
def test_hostile_origin(app: Flask, origin: str, events: list[logging.LogRecord]) -> None:
    """What is no address is not repeated, logged or kept."""
    answer = app.test_client().post(LOGIN, data={}, headers={"Origin": origin.encode().decode("latin-1")})
    assert answer.status_code == 403
    assert "This form was sent from another site." in answer.text
    assert advice_in(events) == []
    assert rows(app, "SELECT * FROM observations") == []


def test_many_origins(steady: SteadyClock, app: Flask, events: list[logging.LogRecord]) -> None:
    """A stranger who sends many addresses makes one process write once a minute, and one row."""
    client = app.test_client()

    def send(count: int) -> None:
        for number in range(count):
            assert client.post(LOGIN, data={}, headers={"Origin": f"https://a{number}.example"}).status_code == 403

    send(30)
    assert len(advice_in(events)) == 1
    steady.seconds += observations.EVERY_SECONDS
    send(30)
    assert len(advice_in(events)) == 2
    assert len(rows(app, "SELECT * FROM observations")) == 1


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
def test_untrusted_proxy(app: Flask, api: Api, header: str) -> None:
    """Doctor says so until the setting is changed."""
    assert api.get("/v1/user/", headers={header: "for=203.0.113.7"}).status_code == 200
    line = told(app)
    assert line.startswith("warn requests: ")
    assert "a proxy at 127.0.0.1 sent it, the proxy is not trusted: all clients count as one address. " in line
    assert "Set ENROL_TRUSTED_PROXIES to 1 then. (Seen last on " in line
    with app.app_context():
        mended = replace(users_settings.current(), trusted_proxies=1)
        assert observations.current_advice(mended) == []


def test_untrusted_proxy_before_a_sign_in(app: Flask) -> None:
    """The address of a person is not kept: only a proxy's private one."""
    app.test_client().get(LOGIN, headers={"X-Forwarded-For": "203.0.113.7"}, environ_base={"REMOTE_ADDR": "8.8.8.8"})
    assert "If a proxy sent it, the proxy is not trusted" in told(app)
    assert rows(app, "SELECT name, detail FROM observations") == [("proxy", "")]


@pytest.mark.parametrize("settings", [{"ENROL_TRUSTED_PROXIES": "2", "ENROL_PUBLIC_URL": "http://users.example.com"}])
def test_headers_of_trusted_proxies(app: Flask, api: Api) -> None:
    """Fewer proxies than are trusted, and https where the public address is http."""
    api.get("/v1/user/", headers={"X-Forwarded-For": "203.0.113.7, 10.0.0.1", "X-Forwarded-Proto": "http"})
    assert told(app).startswith("ok ")
    api.get("/v1/user/", headers={"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"})
    line = told(app)
    assert "ENROL_TRUSTED_PROXIES is 2, but a request had passed 1," in line
    assert "came with X-Forwarded-Proto: https, but ENROL_PUBLIC_URL is http://users.example.com. If a proxy " in line
    assert "set ENROL_PUBLIC_URL to https://users.example.com then." in line


def test_without_a_write(app: Flask, api: Api) -> None:
    """No request waits for it or fails: neither a probe nor one whose database cannot be written."""
    client = app.test_client()
    forwarded = {"X-Forwarded-For": "203.0.113.7"}
    for path in ("/healthz", "/readyz", "/docs"):
        client.get(path, headers=forwarded)
    assert rows(app, "SELECT * FROM observations") == []
    execute(app, "ALTER TABLE observations RENAME TO elsewhere")
    try:
        assert api.get("/v1/user/", headers=forwarded).status_code == 200
    finally:
        execute(app, "ALTER TABLE elsewhere RENAME TO observations")


def test_old_observations(app: Flask, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a week they are told no more: the proxy may have been mended."""
    api.get("/v1/user/", headers={"X-Forwarded-For": "203.0.113.7"})
    moment = clock.now() + KEPT
    monkeypatch.setattr(clock, "now", lambda: moment)
    with app.app_context():
        assert observations.current_advice(users_settings.current()) == []


def test_doctor_without_a_database(app: Flask, runner: FlaskCliRunner) -> None:
    execute(app, "ALTER TABLE observations RENAME TO elsewhere")
    try:
        assert "FAIL requests: What they revealed is in the database: mend that first." in run(runner, "doctor").stdout
    finally:
        execute(app, "ALTER TABLE elsewhere RENAME TO observations")


@pytest.mark.parametrize("settings", [{"ENROL_PUBLIC_URL": "https://users.example.com"}])
def test_cookie_trap(app: Flask, cast: Cast) -> None:
    """Over http the browser keeps no Secure cookie, so each form is stale; the page says why."""
    client = app.test_client(use_cookies=False)
    base = "http://users.example.com"
    token = token_in(client.get(LOGIN, base_url=base))
    fields = {"email": "ada@example.com", "password": PASSWORD, "csrf_token": token}
    answer = client.post(LOGIN, base_url=base, data=fields, headers={"Origin": base})
    assert answer.status_code == 400
    assert "opened this page over http, so it kept no cookie" in answer.text
    assert "Open https://users.example.com." in answer.text
    secure = client.post(LOGIN, base_url=base, data=fields, headers={"Origin": "https://users.example.com"})
    assert "This page was open for too long" in secure.text


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://localhost/", "http://localhost"),
        ("HTTPS://A.example:443", "https://a.example"),
        ("http://a.example:80/", "http://a.example"),
        ("http://a.example:443", "http://a.example:443"),
        ("https://[::1]:5000", "https://[::1]:5000"),
        ("https:///", None),
        ("https://a.example/x", None),
        ("ftp://a.example", None),
        ("null", None),
    ],
)
def test_origin_of(url: str, origin: str | None) -> None:
    assert hosts.origin_of(url) == origin
