"""The secrets of a second factor are where they belong alone: keys, codes, challenges and ids of sessions."""

import base64
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pyotp import TOTP

from support.api import Answer
from support.databases import everything_stored, execute, rows
from support.factors import (
    CODES,
    CONFIRM,
    FACTOR,
    FACTORS,
    App,
    add_app,
    begin_app,
    codes_in,
    confirm,
    fully_signed_in,
    give_code,
    grow_old,
    half_signed_in,
)
from support.passkeys import Passkey, add_passkey, challenge_for, send_signed
from support.people import Cast
from support.visitors import Visitor, form_session_of, signed_in, token_in
from users import logs
from users.auth import sessions
from users.auth.factors import apps, recovery_codes, sealing
from users.auth.factors.held import Answer as Given
from users.pages.account import factors, new_factors
from users.services import second_factors
from users.storage.models import db

CANARY = "canary-Xq7code"


@dataclass
class Watched:
    """All that was answered, and which secrets there were, by the name of where each may be."""

    answers: list[Answer] = field(default_factory=list)
    secrets: dict[str, set[str]] = field(default_factory=dict, repr=False)

    def add(self, kind: str, *secrets: str) -> None:
        """Note secrets."""
        self.secrets.setdefault(kind, set()).update(secrets)


def of(answer: Answer) -> str:
    """Return the part of the path that names the page."""
    return re.sub(r"fct_\w+", "ID", answer.request.path)


# The answers in whose body a secret may be; the ids of sessions are in no body.
SHOWN_ON = {
    "key": {f"{FACTORS}/ID/app"},
    "code": set[str](),
    "recovery code": {f"{FACTORS}/ID/app", f"{FACTORS}/ID/codes", CODES},
    "challenge": {f"{FACTORS}/passkey/options", "/account/passkey-options"},
    "session": set[str](),
}


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Every answer of any client from now on, and the session that each of them gives."""
    found, send = Watched(), FlaskClient.open

    def open_and_note(self: FlaskClient, *given: Any, **more: Any) -> Answer:
        answer = send(self, *given, **more)
        found.answers.append(answer)
        for cookie in answer.headers.getlist("Set-Cookie"):
            if cookie.startswith("enrol=") and not cookie.startswith("enrol=;"):
                found.add("session", cookie.removeprefix("enrol=").partition(";")[0])
        if answer.is_json and answer.json:
            found.add("challenge", answer.json["challenge"])
        return answer

    monkeypatch.setattr(FlaskClient, "open", open_and_note)
    return found


@pytest.fixture(params=["text", "json"])
def style(request: pytest.FixtureRequest) -> Iterator[str]:
    """The style of the log, which is left as it was found."""
    logger = logging.getLogger("enrol")
    before = logger.handlers, logger.level, logger.propagate
    logs.configure(request.param)
    yield request.param
    logger.handlers, logger.level, logger.propagate = before


def enrol(app: Flask, cast: Cast, ada: Visitor, watched: Watched) -> App:
    """Add an app as the page does, with a wrong code first, make other codes, and let it count."""
    mine = begin_app(app, cast.ada)
    path = f"{FACTORS}/{mine.factor_id}"
    page = ada.get(f"{path}/app")
    key = mine.totp.secret
    watched.add("key", key, " ".join(re.findall(".{4}", key)), *_forms_of(base64.b32decode(key)))
    assert key in page.text
    for code in (CANARY, mine.code_at(5), mine.code_at(0)):
        watched.add("code", code)
        shown = ada.client.post(f"{path}/app", data={"csrf_token": token_in(page), "code": code, "name": "Phone"})
    for answer in (shown, ada.post(f"{path}/codes", token=token_in(shown))):
        mine.recovery_codes = codes_in(answer)
        watched.add("recovery code", *mine.recovery_codes, *[one.replace("-", "") for one in mine.recovery_codes])
    assert ada.post(f"{path}/activate", token=token_in(shown)).location == FACTORS
    execute(app, "UPDATE second_factors SET counter = 0")  # the code of this moment can be given again
    return mine


def _forms_of(secret: bytes) -> list[str]:
    return [secret.hex(), base64.b64encode(secret).decode(), repr(secret)[2:-1]]


def use(app: Flask, cast: Cast, mine: App, watched: Watched) -> None:
    """Sign in and confirm with each kind of factor, first wrongly, and change everything that can be changed."""
    half = half_signed_in(app, cast.ada)
    right = mine.code()
    watched.add("code", right)
    assert [give_code(half, code).status_code for code in (CANARY, right)] == [422, 303]
    passkey = Passkey()
    assert add_passkey(half, passkey).status_code == 303
    lost = half_signed_in(app, cast.ada)
    for code in (f"{CANARY}-{CANARY}", mine.recovery_codes[0]):
        answer = lost.client.post(FACTOR, data={"csrf_token": lost.token(FACTOR), "recovery_code": code})
    assert answer.status_code == 303
    other = half_signed_in(app, cast.ada)
    passkey.counter = 7
    for given in (lambda _challenge: "AAAA", str):
        answer = send_signed(other, passkey.signed(given(challenge_for(other))))
    assert answer.status_code == 303
    grow_old(app, cast.ada)
    assert other.get(f"{FACTORS}/{mine.factor_id}/remove").location.startswith(CONFIRM)
    assert confirm(other, recovery_code=mine.recovery_codes[1]).status_code == 303
    assert other.post(f"{FACTORS}/{mine.factor_id}", token=other.token(FACTORS), name="New name").status_code == 303
    watched.add("recovery code", *codes_in(other.post(CODES, token=other.token(CODES))))
    assert other.post(f"{FACTORS}/{mine.factor_id}/remove", token=other.token(FACTORS)).status_code == 303


def all_of(caplog: pytest.LogCaptureFixture) -> str:
    """Return all that the log records hold, except the times that each has: six of their digits may be a code."""
    times = {"created", "msecs", "relativeCreated"}
    held = [{name: value for name, value in record.__dict__.items() if name not in times} for record in caplog.records]
    return caplog.text + str(held)


def assert_kept(app: Flask, watched: Watched, logged: str, visitors: list[Visitor]) -> None:
    """Assert that each secret is where it belongs alone."""
    trail = str(rows(app, "SELECT action, target_id, fields, actor_user_id, address, request_id FROM audit_events"))
    nowhere = logged + trail + str([form_session_of(one) for one in visitors])
    stored = everything_stored(app)
    for kind, secrets in watched.secrets.items():
        for secret in secrets:
            pattern = re.compile(rf"(?<!\w){re.escape(secret)}(?!\w)")
            assert not pattern.search(nowhere), kind
            assert kind == "code" or not pattern.search(stored), kind  # six digits are part of many a time
            for answer in watched.answers:
                is_shown = of(answer) in SHOWN_ON[kind]
                assert is_shown or not pattern.search(answer.text), (kind, of(answer))
                others = [line for line in answer.headers.items() if not line[1].startswith("enrol=")]
                assert not pattern.search(str(others)), (kind, of(answer))
    for answer in watched.answers:
        assert answer.headers["Cache-Control"] == "no-store", of(answer)


def test_enrolment_and_sign_in(
    app: Flask,
    cast: Cast,
    watched: Watched,
    style: str,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """From the first code to the last: nothing is in a log, the trail, a cookie, a redirect or another page."""
    caplog.set_level(logging.DEBUG)  # every library's log, not only ours
    logging.getLogger("enrol").addHandler(caplog.handler)
    ada = signed_in(app, cast.ada)
    mine = enrol(app, cast, ada, watched)
    use(app, cast, mine, watched)
    shown = "".join(capfd.readouterr())
    assert ('{"time"' in shown) == (style == "json")
    assert watched.answers[-1].headers["X-Request-Id"] in shown  # the log was looked at
    assert {kind: len(secrets) > 1 for kind, secrets in watched.secrets.items()} == dict.fromkeys(SHOWN_ON, True)
    assert [record.name for record in caplog.records if record.name.startswith("fido2")] == []  # ids of passkeys
    assert_kept(app, watched, shown + all_of(caplog), [ada])


def crash(*arguments: object, **more: object) -> None:
    """Fail with a text that quotes what it was given, as libraries do."""
    raise ValueError(f"cannot handle {arguments!r} {more!r}")


# What fails while it has a secret in hand: an object and its attribute.
FAULTS: dict[str, tuple[Any, str]] = {
    "the check of a code": (TOTP, "verify_and_get_timecode"),
    "the hash of a recovery code": (recovery_codes, "_digest"),
    "the sealing": (sealing, "seal"),
    "the key": (apps, "uri_of"),
    "the picture": (new_factors, "_qr_code"),
    "the page of the key": (new_factors, "render_template"),
    "the page of the codes": (factors, "render_template"),
    "the new id": (sessions, "renew"),
}


@pytest.mark.one_database
def test_unexpected_error(
    app: Flask,
    cast: Cast,
    watched: Watched,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An error in the middle, whose text quotes the secret, tells of none: a 500 and a line with its place."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("enrol").addHandler(caplog.handler)
    mine = add_app(app, cast.ada)
    whole = fully_signed_in(app, cast.ada, mine)
    watched.add("recovery code", *mine.recovery_codes)
    for place, name in FAULTS.values():
        new, code = begin_app(app, cast.ada), mine.code_at(0)
        first, path = new.code_at(0), f"{FACTORS}/{new.factor_id}/app"
        watched.add("code", code, first)
        watched.add("key", mine.totp.secret, new.totp.secret)
        execute(app, "DELETE FROM throttles")
        execute(app, "UPDATE second_factors SET counter = 0")  # the code of this moment can be given again
        with monkeypatch.context() as patch:
            patch.setattr(place, name, crash)
            answers = [
                whole.get(path),
                whole.post(path, code=first),
                whole.post(CONFIRM, code=code),
                whole.post(CONFIRM, recovery_code=mine.recovery_codes[0]),
                whole.post(CODES),
                whole.post(f"{FACTORS}/app"),
            ]
        assert 500 in [answer.status_code for answer in answers], name
    told = "".join(capfd.readouterr()) + all_of(caplog)
    assert told.count("unexpected_error") >= len(FAULTS)
    token = whole.token(FACTORS)
    execute(app, "ALTER TABLE recovery_codes RENAME TO elsewhere")
    try:
        gone = whole.post(CONFIRM, token=token, recovery_code=mine.recovery_codes[0])
    finally:
        execute(app, "ALTER TABLE elsewhere RENAME TO recovery_codes")
    assert gone.status_code == 503
    assert_kept(app, watched, told + "".join(capfd.readouterr()), [whole])


@pytest.mark.one_database
def test_reprs(app: Flask, cast: Cast) -> None:
    """What an object of the code says of itself, as in an error's text, has no secret."""
    mine = add_app(app, cast.ada)
    whole = fully_signed_in(app, cast.ada, mine)
    with app.app_context():
        factor = second_factors.get(cast.ada.id, mine.factor_id)
        current = sessions.find(whole.session_id or "")
        assert current
        told = repr([factor, current, Given(CANARY, CANARY), mine, apps.new_secret, db.session])
        secret = repr(factor.secret)[2:-1]
    for text in (CANARY, whole.session_id, mine.totp.secret, secret, *mine.recovery_codes):
        assert str(text) not in told
