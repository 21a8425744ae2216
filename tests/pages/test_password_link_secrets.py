"""The page of a password link: its token is nowhere but in its cookie and its form, whatever is done with the link."""

import logging
from collections.abc import Iterator

import pytest
from flask import Flask

from support.api import Answer
from support.databases import everything_stored
from support.password_links import invite, opened, send
from support.visitors import Visitor, form_session_of
from users.passwords import argon2id
from users.services.changes import each
from users.services.links.password_links import PasswordLink
from users.storage import schema_version

CANARY = "canary-Xq7pass"
FORM = "application/x-www-form-urlencoded"


def crash(*arguments: object, **_: object) -> None:
    """Fail with a text that quotes what it was given, as libraries do."""
    raise ValueError(f"cannot handle {arguments!r}")


def answers_about(browser: Visitor, link: PasswordLink) -> Iterator[tuple[str, int, Answer]]:
    """Open and use the link in every way, and yield what was done, the status that is expected, and the answer."""
    url = f"/password?token={link.token}"
    yield "head", 303, browser.client.head(url)
    yield "unknown path", 404, browser.get(url.replace("password", "passwords"))
    yield "wrong method", 405, browser.client.put(url)
    yield "broken", 303, browser.get(url[:-1])
    yield "untidy", 303, browser.get(f"{url}.)")
    page = opened(browser, link)
    yield "too short", 422, send(browser, page, "short")
    yield "stale", 400, send(browser, page, token="stale")
    yield "cross-site", 403, send(browser, page, headers={"Origin": "https://evil.example"})
    yield "not utf-8", 400, browser.client.post(url, data=b"link=%E9" + link.token.encode(), content_type=FORM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argon2id, "hash_of", crash)
        yield "hash fails", 500, send(browser, page, CANARY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(each.trail, "record_each", lambda *_: crash(link.token))  # type: ignore[attr-defined]
        yield "act fails", 500, send(browser, page, CANARY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema_version, "require_usable", lambda _: crash(link.token))
        yield "database fails", 500, send(browser, page, CANARY)
    yield "used", 303, send(browser, page, CANARY)
    yield "done", 200, browser.get("/password?done")
    yield "used before", 410, send(browser, page, CANARY)
    yield "opened once more", 303, browser.get(url)
    yield "ended", 410, browser.get("/password")


def test_a_link_is_in_its_cookie_and_its_form_alone(
    app: Flask, visitor: Visitor, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The token is in no log, answer, table, repr or other cookie, whatever is done with the link."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("enrol").addHandler(caplog.handler)
    assert visitor.token()  # which is in the session
    with app.app_context():
        link = invite()
    secret = link.token.rpartition(".")[2][:40]
    for what, status, answer in answers_about(visitor, link):
        assert answer.status_code == status, what
        fields = f'<input type="hidden" name="link" value="{link.token}">'
        told = answer.text.replace(fields, "", 1 if status in (400, 422) else 0)
        cookies = [one for one in answer.headers.getlist("Set-Cookie") if not one.startswith("enrol-password=")]
        headers = [value for name, value in answer.headers if name != "Set-Cookie"]
        for place in (told, str(cookies), str(headers), str(form_session_of(visitor))):
            assert secret not in place, what
            assert CANARY not in place, what
    shown = "".join(capfd.readouterr())
    assert shown.count("/password") > 10  # the log was looked at
    logged = str([record.__dict__ for record in caplog.records]) + caplog.text
    for place in (shown, logged, everything_stored(app), repr(link), repr(link.user)):
        assert secret not in place
        assert CANARY not in place
