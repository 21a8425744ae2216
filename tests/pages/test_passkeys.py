"""Passkeys at the pages: add them, sign in and confirm with them, and all that must be refused."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fido2.utils import websafe_decode, websafe_encode
from flask import Flask

from support.databases import execute, rows
from support.factors import CONFIRM, FACTOR, FACTORS, add_app, codes_in, confirm, fully_signed_in, give_code, grow_old
from support.factors import half_signed_in as half_in
from support.passkeys import (
    NEW,
    NEW_OPTIONS,
    OPTIONS,
    PRESENT,
    Passkey,
    activate,
    add_passkey,
    challenge_for,
    options_in,
    own_passkey,
    send_new,
    send_signed,
    use_passkey,
)
from support.people import Cast
from support.visitors import Visitor, problems_in, signed_in, summary_in
from users import clock, settings
from users.http import urls
from users.rules.web_urls import read_base_url

WRONG = [("credential", "The code is wrong")]
OTHER_KEY = Passkey()


@pytest.fixture
def passkey(ada: Visitor) -> Passkey:
    """Ada's only second factor."""
    return own_passkey(ada)


def last_event(app: Flask, action: str) -> tuple[str, Any]:
    """Return the outcome and the fields of the last audit row of this action."""
    found = rows(app, "SELECT outcome, fields FROM audit_events WHERE action = :action ORDER BY id", action=action)
    outcome, fields = found[-1]
    return outcome, json.loads(fields) if isinstance(fields, str) else fields


def make_older(app: Flask) -> None:
    """Let five minutes go by for each challenge."""
    then = clock.now() - timedelta(minutes=5)
    execute(app, "UPDATE admin_sessions SET challenge_made_at = :at WHERE challenge IS NOT NULL", at=then)


def test_journey(app: Flask, cast: Cast, ada: Visitor) -> None:
    """A passkey is the first factor; it signs in under a new id, and the trail names it."""
    passkey = own_passkey(ada)
    assert last_event(app, "factor.create") == ("ok", ["passkey"])
    half = half_in(app, cast.ada)
    assert 'data-passkey="get"' in half.get(FACTOR).text
    before = half.session_id
    passkey.counter = 1
    assert use_passkey(half, passkey).location == "/admin"
    assert half.session_id != before
    assert half.is_in
    assert last_event(app, "session.create") == ("ok", ["passkey"])
    assert rows(app, "SELECT counter FROM second_factors") == [(1,)]


def test_options(app: Flask, cast: Cast, ada: Visitor) -> None:
    """The options name this site, the user, the passkeys that are there, and no attestation."""
    passkey = own_passkey(ada)
    made, asked = options_in(ada, NEW_OPTIONS, NEW), options_in(half_in(app, cast.ada), OPTIONS, FACTOR)
    known = [{"type": "public-key", "id": websafe_encode(passkey.credential_id)}]
    assert (made["rp"], made["attestation"]) == ({"id": "localhost", "name": "Enrol"}, "none")
    assert websafe_decode(made["user"]["id"]).decode() == cast.ada.id
    assert made["excludeCredentials"] == asked["allowCredentials"] == known
    assert asked["rpId"] == "localhost"
    assert made["timeout"] == asked["timeout"] == 300_000
    assert len(websafe_decode(made["challenge"])) == len(websafe_decode(asked["challenge"])) == 32


def test_new_passkey_beside_an_app(app: Flask, cast: Cast) -> None:
    """With recovery codes already, a passkey counts at once; either factor then signs in."""
    mine = add_app(app, cast.ada)
    ada = fully_signed_in(app, cast.ada, mine)
    passkey = Passkey()
    assert add_passkey(ada, passkey, "Blue key").location == FACTORS
    assert "Blue key" in ada.get(FACTORS).text
    assert use_passkey(half_in(app, cast.ada), passkey).status_code == 303
    assert give_code(half_in(app, cast.ada), mine.code()).status_code == 303


@pytest.mark.one_database
@pytest.mark.parametrize("settings", [{"ENROL_REQUIRE_SECOND_FACTOR": "all"}])
def test_passkey_at_the_sign_in(app: Flask, cast: Cast) -> None:
    """A user who must add a factor after the password can add a passkey, and goes on from there."""
    ada = signed_in(app, cast.ada)
    assert ada.get("/admin/users").location == FACTORS
    passkey = Passkey()
    shown = add_passkey(ada, passkey)
    assert ada.get("/admin/users").location == FACTORS
    assert activate(ada, shown).location == "/admin"
    assert ada.is_in
    assert use_passkey(half_in(app, cast.ada), passkey).status_code == 303


def test_codes_loaded_again(ada: Visitor) -> None:
    """Loading the page with the recovery codes again leads to where other codes are made."""
    credential = Passkey().made(options_in(ada, NEW_OPTIONS, NEW)["challenge"])
    assert len(codes_in(send_new(ada, credential))) == 10
    again = send_new(ada, credential)
    assert "Your recovery codes were shown" in ada.get(again.location).text


def test_same_passkey_again(ada: Visitor, passkey: Passkey) -> None:
    """A browser refuses it itself; an answer that was made up is refused too."""
    again = add_passkey(ada, passkey)
    assert problems_in(again) == [("credential", "You have added this passkey already")]
    assert 'href="#credential"' in again.text
    assert 'id="credential"' in again.text


def test_one_passkey_of_two_users(app: Flask, cast: Cast, ada: Visitor, passkey: Passkey) -> None:
    """Another user with the same credential id keeps nobody out: passkeys are looked for among one's own."""
    copied = Passkey(credential_id=passkey.credential_id)
    own_passkey(omar := signed_in(app, cast.omar), credential_id=passkey.credential_id)
    assert omar.is_in
    assert problems_in(use_passkey(half_in(app, cast.ada), copied)) == WRONG
    assert use_passkey(half_in(app, cast.ada), passkey).status_code == 303


Change = Callable[[Passkey], object]
WRONG_WAYS: dict[str, Change] = {
    "another scheme": lambda passkey: setattr(passkey, "origin", "https://localhost"),
    "another port": lambda passkey: setattr(passkey, "origin", "http://localhost:8000"),
    "the own port, spelled out": lambda passkey: setattr(passkey, "origin", "http://localhost:80"),
    "a sub-domain": lambda passkey: setattr(passkey, "origin", "http://a.localhost"),
    "a longer host": lambda passkey: setattr(passkey, "origin", "http://localhost.example.com"),
    "no origin": lambda passkey: setattr(passkey, "origin", "null"),
    "another RP id": lambda passkey: setattr(passkey, "rp_id", "example.com"),
    "in a frame of another site": lambda passkey: setattr(passkey, "in_frame", True),
    "nobody present": lambda passkey: setattr(passkey, "flags", PRESENT & 0),
}


@pytest.mark.one_database
@pytest.mark.parametrize("way", WRONG_WAYS)
def test_wrong_passkey(app: Flask, cast: Cast, ada: Visitor, way: str) -> None:
    """What the browser tells of the site must fit to the letter, for a new passkey and at a sign-in."""
    spoilt = Passkey()
    WRONG_WAYS[way](spoilt)
    assert problems_in(add_passkey(ada, spoilt)) == [("credential", "The passkey could not be added. Try again")]
    passkey = own_passkey(ada)
    WRONG_WAYS[way](passkey)
    half = half_in(app, cast.ada)
    page = use_passkey(half, passkey)
    assert (page.status_code, problems_in(page)) == (422, WRONG)
    assert not half.is_in
    assert last_event(app, "session.create") == ("refused", ["second_factor"])


@pytest.mark.one_database
def test_wrong_type(app: Flask, cast: Cast, ada: Visitor) -> None:
    """What was signed to make a passkey is no sign-in, and the other way round."""
    new = Passkey()
    challenge = options_in(ada, NEW_OPTIONS, NEW)["challenge"]
    assert send_new(ada, new.made(challenge, kind="webauthn.get")).status_code == 422
    passkey = own_passkey(ada)
    half = half_in(app, cast.ada)
    assert problems_in(send_signed(half, passkey.signed(challenge_for(half), kind="webauthn.create"))) == WRONG
    assert problems_in(send_signed(half, passkey.made(challenge_for(half)))) == WRONG


@pytest.mark.one_database
def test_wrong_credential(app: Flask, cast: Cast, ada: Visitor, passkey: Passkey) -> None:
    """A passkey that was never added, another user's, and another key under a known id are refused."""
    theirs = own_passkey(signed_in(app, cast.omar))
    half = half_in(app, cast.ada)
    for other in (Passkey(), theirs, Passkey(credential_id=passkey.credential_id)):
        assert problems_in(use_passkey(half, other)) == WRONG
    assert use_passkey(half, passkey).status_code == 303


@pytest.mark.one_database
def test_wrong_challenge(app: Flask, cast: Cast, ada: Visitor, passkey: Passkey) -> None:
    """Only the session's last challenge counts, once; a wrong answer uses it up. The next click just works."""
    half = half_in(app, cast.ada)
    first, second = challenge_for(half), challenge_for(half)
    assert problems_in(send_signed(half, passkey.signed(first))) == WRONG
    assert problems_in(send_signed(half, passkey.signed(second))) == WRONG
    other = half_in(app, cast.ada)
    assert problems_in(send_signed(other, passkey.signed(challenge_for(half)))) == WRONG
    assert use_passkey(half, passkey).status_code == 303


@pytest.mark.one_database
def test_challenge_of_a_session_without_one(app: Flask, cast: Cast, ada: Visitor, passkey: Passkey) -> None:
    """An empty challenge fits no session, nor does one used before the id of the session changed."""
    half = half_in(app, cast.ada)
    for challenge in ("", websafe_encode(bytes(32))):
        assert problems_in(send_signed(half, passkey.signed(challenge))) == WRONG
    signed = passkey.signed(challenge_for(half))
    assert send_signed(half, signed).status_code == 303
    grow_old(app, cast.ada)
    assert problems_in(send_signed(half, signed, CONFIRM)) == WRONG


def test_old_challenge(app: Flask, cast: Cast, ada: Visitor) -> None:
    """After five minutes in the dialog an answer is refused; adding says why. A new click gets a new challenge."""
    passkey = Passkey()
    challenge = options_in(ada, NEW_OPTIONS, NEW)["challenge"]
    make_older(app)
    assert "This page was open for too long" in summary_in(send_new(ada, passkey.made(challenge)))
    own_passkey(ada)
    half = half_in(app, cast.ada)
    challenge = challenge_for(half)
    make_older(app)
    assert problems_in(send_signed(half, passkey.signed(challenge))) == WRONG


def test_one_signature_in_parallel(app: Flask, cast: Cast, ada: Visitor, passkey: Passkey) -> None:
    """Of eight requests with one signature, one signs in."""
    half = half_in(app, cast.ada)
    token, signed = half.token(FACTOR), passkey.signed(challenge_for(half))
    visitors = [Visitor(app.test_client()) for _ in range(8)]
    for visitor in visitors:
        for cookie in ("enrol", "enrol-form"):
            held = half.client.get_cookie(cookie)
            assert held
            visitor.client.set_cookie(cookie, held.value)
    with ThreadPoolExecutor(8) as pool:
        data = {"csrf_token": token, "credential": signed}
        sent = [pool.submit(visitor.client.post, FACTOR, data=data) for visitor in visitors]
    assert sum(one.result().status_code == 303 for one in sent) == 1
    assert sum(visitor.is_in for visitor in visitors) == 1
    sign_ins = "SELECT 1 FROM audit_events WHERE action = 'session.create' AND outcome = 'ok'"
    assert len(rows(app, sign_ins)) == 2  # before the passkey was added, and now


@pytest.mark.one_database
@pytest.mark.parametrize(("before", "then", "passes"), [(0, 0, True), (5, 6, True), (5, 5, False), (5, 4, False)])
def test_counter(app: Flask, cast: Cast, ada: Visitor, before: int, then: int, passes: bool) -> None:
    """A counter that does not rise is that of a copy: refused, and named in the trail. 0 and 0 is a passkey without."""
    passkey = own_passkey(ada, counter=before)
    half = half_in(app, cast.ada)
    passkey.counter = then
    page = use_passkey(half, passkey)
    assert (page.status_code == 303) == passes
    if not passes:
        assert problems_in(page) == WRONG
        assert last_event(app, "session.create") == ("refused", ["sign_count"])
    assert rows(app, "SELECT counter FROM second_factors") == [(then if passes else before,)]
    passkey.counter = before + 9
    if not passes:
        assert use_passkey(half, passkey).status_code == 303


@pytest.mark.one_database
def test_counter_that_falls_to_nothing(app: Flask, cast: Cast, ada: Visitor) -> None:
    """A passkey that had a counter has one for good."""
    passkey = own_passkey(ada, counter=5)
    grow_old(app, cast.ada)
    passkey.counter = 0
    assert problems_in(use_passkey(ada, passkey, CONFIRM)) == WRONG
    assert last_event(app, "session.confirm") == ("refused", ["sign_count"])


def test_step_up(app: Flask, cast: Cast, ada: Visitor, passkey: Passkey) -> None:
    """A passkey is the proof that it is the user; the way back leads to the page that asked."""
    grow_old(app, cast.ada)
    asked = ada.get(NEW)
    assert asked.location == f"{CONFIRM}?next=/account/factors/passkey"
    before = ada.session_id
    signed = passkey.signed(challenge_for(ada, CONFIRM))
    assert confirm(ada, credential=signed, next=NEW).location == NEW
    assert ada.session_id != before
    assert last_event(app, "session.confirm") == ("ok", ["passkey"])


@pytest.mark.one_database
def test_form_open_for_long(app: Flask, cast: Cast, ada: Visitor, passkey: Passkey) -> None:
    """When the last proof grew old while the form was open, the script gets a page, and the form asks for a proof."""
    token = ada.token(NEW)
    grow_old(app, cast.ada)
    for path in (NEW_OPTIONS, NEW):
        answer = ada.client.post(path, data={"csrf_token": token, "name": "Blue key", "credential": ""})
        assert (answer.status_code, answer.mimetype) == (403, "text/html")
        assert "Confirm that it is you" in answer.text
    assert 'name="kept-name" value="Blue key"' in answer.text
    assert 'value="/account/factors/passkey"' in answer.text


@pytest.mark.one_database
def test_options_for_nobody(app: Flask, cast: Cast, ada: Visitor) -> None:
    """Without a session, a token or a passkey there are no options, and the script gets a page."""
    stranger = Visitor(app.test_client())
    for path in (NEW_OPTIONS, OPTIONS):
        assert stranger.client.post(path, data={"csrf_token": stranger.token()}).status_code == 403
        assert ada.client.post(path, data={}).status_code == 400
        assert ada.client.get(path).status_code == 405
    assert ada.client.post(OPTIONS, data={"csrf_token": ada.token(FACTORS)}).status_code == 404
    assert rows(app, "SELECT 1 FROM admin_sessions WHERE challenge IS NOT NULL") == []
    own_passkey(ada)
    half = half_in(app, cast.ada)
    assert half.client.post(NEW_OPTIONS, data={"csrf_token": half.token(FACTOR)}).location == FACTOR


@pytest.mark.one_database
def test_moved_service(app: Flask, cast: Cast, ada: Visitor, passkey: Passkey) -> None:
    """A passkey of another host name is told of, at the sign-in and in the list, and not asked for."""
    shown = ada.get(FACTORS).text
    assert "Does not work at this address" not in shown
    (old,) = rows(app, "SELECT secret FROM second_factors")[0]
    execute(app, "UPDATE second_factors SET secret = :secret", secret=bytes(32) + bytes(old)[32:])
    assert "Does not work at this address" in ada.get(FACTORS).text
    half = half_in(app, cast.ada)
    page = half.get(FACTOR).text
    assert "data-passkey" not in page
    assert "Your passkey does not work at this address" in page
    assert 'name="recovery_code"' in page
    assert 'name="recovery_code"' in page
    assert half.client.post(OPTIONS, data={"csrf_token": half.token(FACTOR)}).status_code == 404
    assert options_in(ada, NEW_OPTIONS, NEW)["excludeCredentials"] == []


@pytest.mark.one_database
def test_other_secret_key(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the old secret key an app's codes cannot be checked, and the page says so. Passkeys go on."""
    mine = add_app(app, cast.ada)
    passkey = Passkey()
    add_passkey(ada := fully_signed_in(app, cast.ada, mine), passkey)
    with app.app_context():
        changed = replace(settings.current(), secret_key="another key " * 4, secret_key_fallbacks=())
    monkeypatch.setattr(settings, "current", lambda: changed)
    assert "Cannot be checked any more" in ada.get(FACTORS).text
    half = half_in(app, cast.ada)
    page = half.get(FACTOR).text
    assert "The secret key of this service has changed" in page
    assert 'name="code"' not in page
    assert give_code(half, mine.code()).status_code == 422
    assert use_passkey(half, passkey).status_code == 303
    recovery = {"csrf_token": (other := half_in(app, cast.ada)).token(FACTOR), "recovery_code": mine.recovery_codes[0]}
    assert other.client.post(FACTOR, data=recovery).status_code == 303


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("public_url", "asked", "site"),
    [
        ("", "http://localhost:5000", ("localhost", "http://localhost:5000")),
        ("", "http://localhost", ("localhost", "http://localhost")),
        ("", "http://127.0.0.1:5000", None),
        ("", "http://enrol.example.com", None),
        ("", "http://localhost.example.com", None),
        ("http://localhost:5000", "http://127.0.0.1:5000", ("localhost", "http://localhost:5000")),
        ("https://enrol.example.com", "http://10.0.0.1:8000", ("enrol.example.com", "https://enrol.example.com")),
        ("https://Enrol.Example.com:443/", "http://x", ("enrol.example.com", "https://enrol.example.com")),
        ("https://enrol.example.com:8443", "http://x", ("enrol.example.com", "https://enrol.example.com:8443")),
        ("http://enrol.example.com", "http://localhost", None),  # no browser has passkeys there
        ("https://192.0.2.7", "http://localhost", None),
        ("https://[2001:db8::7]", "http://localhost", None),
    ],
)
def test_site(app: Flask, public_url: str, asked: str, site: tuple[str, str] | None) -> None:
    """The RP id is the host of the service's own address; the origin is as browsers write it."""
    with app.test_request_context(base_url=asked), pytest.MonkeyPatch.context() as patch:
        configured = replace(settings.current(), public_url=public_url and read_base_url(public_url))
        patch.setattr(settings, "current", lambda: configured)
        found = urls.passkey_site()
    assert (found and (found.rp_id, found.origin)) == site
