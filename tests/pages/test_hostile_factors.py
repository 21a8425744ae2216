"""Whatever is sent to the forms of a second factor: no 5xx, no sign-in, no change."""

import json
from collections.abc import Callable
from urllib.parse import quote, urlencode

import pytest
from flask import Flask

from support.api import Answer
from support.databases import execute, rows
from support.factors import CONFIRM, FACTOR, FACTORS, App, add_app, begin_app, fully_signed_in, half_signed_in
from support.passkeys import NEW_OPTIONS, options_in
from support.people import Cast
from support.visitors import Visitor, problems_in

FULL_WIDTH = str.maketrans("0123456789", "０１２３４５６７８９")
ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
LONG = 60_000  # a body may have 64 KiB

# What a right code becomes: none of these is one.
SPOILT: dict[str, Callable[[str], str]] = {
    "full-width digits": lambda code: code.translate(FULL_WIDTH),
    "Arabic digits": lambda code: code.translate(ARABIC),
    "a superscript": lambda code: code[:5] + "²",
    "NUL": lambda code: f"{code}\x00",
    "signed": lambda code: f"+{code}",
    "padded": lambda code: f"0{code}",
    "long": lambda code: code * (LONG // 6),
    "zero-width": lambda code: code[:3] + "\u200b" + code[3:],
}
# Bodies without their CSRF token, percent-encoded.
BODIES = {
    "not utf-8": "code=%FF%FE",
    "lone surrogate": "code=%ED%A0%80&recovery_code=%ED%A0%80",
    "NUL": "code=%00&recovery_code=%00&credential=%00&password=%00",
    "nothing": "",
    "many fields": "&".join(f"kept-f{n}=1" for n in range(4000)),
    "one field often": "&".join(["code=1"] * 4000),
    "names of attributes": "code.data=1&__class__=1&code[]=1&kept-=1&=1",
    "long recovery code": f"recovery_code={'7' * LONG}",
    "odd recovery code": f"recovery_code={quote('ıſ ' * 500)}",
    "elsewhere": "code=1&next=//evil.example&kept-x=1",
}
CREDENTIALS = {
    "not JSON": "{",
    "deep": "[" * (LONG // 2) + "]" * (LONG // 2),
    "deep objects": '{"response":' * 5000 + "1" + "}" * 5000,
    "a list": "[]",
    "a number": "1e999",
    "null": "null",
    "a text": '"id"',
    "a surrogate": '{"id": "\\ud800", "rawId": "\\ud800", "response": {}}',
    "wrong types": json.dumps({"id": 1, "rawId": [], "type": {}, "response": {"clientDataJSON": 5, "signature": None}}),
    "not base64": json.dumps({"id": "é", "rawId": "é", "type": "public-key", "response": {"clientDataJSON": "é"}}),
    "empty parts": json.dumps(
        {
            "id": "",
            "rawId": "",
            "type": "public-key",
            "response": {"clientDataJSON": "", "attestationObject": "", "authenticatorData": "", "signature": ""},
        }
    ),
    "a huge number": "9" * 5000,
    "long": json.dumps({"id": "A" * LONG}),
}


def state(app: Flask) -> list[object]:
    """Return what no refused form may change, and give back what wrong answers use up."""
    execute(app, "DELETE FROM throttles")
    execute(app, "UPDATE admin_sessions SET failures = 0")
    factors = "SELECT id, name, counter, proved_at, active_since, last_used_at FROM second_factors ORDER BY id"
    queries = (
        factors,
        "SELECT user_id, code_hash, used_at FROM recovery_codes ORDER BY code_hash",
        "SELECT id_hash, awaits_factor, confirmed_at FROM admin_sessions ORDER BY id_hash",
        "SELECT count(*) FROM audit_events WHERE outcome = 'ok'",
    )
    return [sorted(map(str, rows(app, query))) for query in queries]


@pytest.fixture
def apps_of(app: Flask, cast: Cast) -> App:
    """The app that Ada has added."""
    return add_app(app, cast.ada)


def send_raw(visitor: Visitor, path: str, body: str, token: str) -> Answer:
    """Send a percent-encoded form with its CSRF token, which comes first: Werkzeug reads 1,000 fields at most."""
    body = "&".join(filter(None, [urlencode({"csrf_token": token}), body]))
    return visitor.client.post(path, data=body, content_type="application/x-www-form-urlencoded")


def refused(app: Flask, before: list[object], answer: Answer, about: str) -> None:
    """Assert that the answer is harmless and nothing has changed."""
    assert answer.status_code in (400, 413, 422), (about, answer.status_code)
    assert answer.headers["Cache-Control"] == "no-store"
    assert state(app) == before, about


@pytest.mark.parametrize("path", [FACTOR, CONFIRM])
def test_answers(app: Flask, cast: Cast, apps_of: App, path: str) -> None:
    """Neither a spoilt code, nor an odd body, nor an odd passkey is an answer; the right code is, after all of them."""
    visitor = half_signed_in(app, cast.ada) if path == FACTOR else fully_signed_in(app, cast.ada, apps_of)
    token, before, code = visitor.token(path), state(app), apps_of.code()
    for name, spoil in SPOILT.items():
        answer = visitor.client.post(path, data={"csrf_token": token, "code": spoil(code)})
        assert problems_in(answer) == [("code", "The code is wrong")], name
        refused(app, before, answer, name)
    bodies = BODIES | {f"credential {name}": urlencode({"credential": one}) for name, one in CREDENTIALS.items()}
    for name, body in bodies.items():
        refused(app, before, send_raw(visitor, path, body, token), name)
    assert visitor.client.post(path, data={"csrf_token": token, "code": code}).status_code == 303


def test_new_app(app: Flask, cast: Cast, ada: Visitor) -> None:
    mine = begin_app(app, cast.ada)
    path = f"{FACTORS}/{mine.factor_id}/app"
    token, before, code = ada.token(path), state(app), mine.code_at(0)
    for name, spoil in SPOILT.items():
        refused(app, before, ada.client.post(path, data={"csrf_token": token, "code": spoil(code)}), name)
    for name in ("\x00", "x" * LONG, "a\nb"):
        refused(app, before, ada.client.post(path, data={"csrf_token": token, "code": code, "name": name}), name[:5])
    for name, body in BODIES.items():
        refused(app, before, send_raw(ada, path, body, token), name)
    assert ada.client.post(path, data={"csrf_token": token, "code": code}).status_code == 200


def test_new_passkey(app: Flask, ada: Visitor) -> None:
    """An odd credential adds no passkey, and uses up the challenge."""
    path, before = f"{FACTORS}/passkey", state(app)
    for name, credential in CREDENTIALS.items():
        token = ada.token(path)
        options_in(ada, NEW_OPTIONS, path)
        refused(app, before, ada.client.post(path, data={"csrf_token": token, "credential": credential}), name)
        again = ada.client.post(path, data={"csrf_token": token, "credential": "{}"})
        refused(app, before, again, name)


ACTS = ["", "/app", "/codes", "/activate", "/remove"]


def test_factor_of_another(app: Flask, cast: Cast, ada: Visitor) -> None:
    """A factor of another user is as unknown as one that never was: 404, and nothing has changed."""
    add_app(app, cast.ada)
    theirs = [add_app(app, cast.omar).factor_id, begin_app(app, cast.omar).factor_id]
    junk = ["fct_" + "0" * 32, "fct_" + "G" * 32, "usr_x", "%00", "%ED%A0%80", "%F0%9F%94%91", "a" * 3000, "..%2f", "'"]
    token, before = ada.token(FACTORS), state(app)
    for factor_id in theirs + junk:
        for act in ACTS:
            path = f"{FACTORS}/{factor_id}{act}"
            answers = [ada.client.post(path, data={"csrf_token": token, "code": "123456", "name": "Mine"})]
            if act != "/activate":
                answers.append(ada.get(path))
            assert {one.status_code for one in answers} == {404}, path
    assert state(app) == before


def test_act_on_another_kind(app: Flask, cast: Cast, ada: Visitor) -> None:
    """A passkey is no app to give a code for, and an app under a lost secret key cannot be finished."""
    mine = begin_app(app, cast.ada)
    path, token = f"{FACTORS}/{mine.factor_id}/app", ada.token(FACTORS)
    for spoil in ("kind = 'passkey'", "kind = 'totp', secret = 'x'"):
        execute(app, f"UPDATE second_factors SET {spoil}")
        assert ada.client.post(path, data={"csrf_token": token, "code": "123456"}).status_code == 404
        assert ada.get(path).status_code in (303, 404)
