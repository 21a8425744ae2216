"""The markup of the pages of second factors, which browsers, password managers and screen readers read."""

import re

import pytest
from flask import Flask

from support.api import Answer
from support.factors import CODES, CONFIRM, FACTOR, FACTORS, add_app, begin_app, codes_in, give_code, half_signed_in
from support.passkeys import own_passkey
from support.people import Cast
from support.visitors import Visitor, problems_in, signed_in, token_in
from users import clock
from users.storage.models import User

pytestmark = pytest.mark.one_database


def field(page: Answer, name: str) -> dict[str, str]:
    """Return the attributes of an input."""
    (tag,) = re.findall(rf'<input [^>]*id="{name}"[^>]*>', page.text)
    return dict(re.findall(r'([\w-]+)(?:="([^"]*)")?', tag.removeprefix("<input ")))


def details_in(page: Answer) -> list[str]:
    """Return how `details` stand: "open", or "" for closed."""
    return [state.strip() for state in re.findall(r"<details([^>]*)>", page.text)]


def enrolment(app: Flask, user: User, visitor: Visitor) -> tuple[Answer, str]:
    """Return the page of an app that was just begun, and the app's code."""
    mine = begin_app(app, user)
    return visitor.get(f"{FACTORS}/{mine.factor_id}/app"), mine.code()


def test_field_for_a_code(app: Flask, cast: Cast, ada: Visitor) -> None:
    """A phone fills the code in, and shows its digits to type; the hint belongs to the field."""
    new_app, _ = enrolment(app, cast.ada, ada)
    add_app(app, cast.ada)
    for page, has_focus in (
        (new_app, False),
        (half_signed_in(app, cast.ada).get(FACTOR), True),
        (ada.get(CONFIRM), True),
    ):
        code = field(page, "code")
        assert (code["autocomplete"], code["inputmode"]) == ("one-time-code", "numeric")
        assert code["aria-describedby"] == "code-hint"
        assert 'id="code-hint">Six digits.' in page.text
        assert '<label for="code">Code from your app</label>' in page.text
        assert not {"placeholder", "maxlength", "required", "pattern"} & set(code)
        assert ("autofocus" in code) is has_focus
        assert " style=" not in page.text
        assert "novalidate" in page.text
        assert "data-once" in page.text


@pytest.mark.parametrize("path", [FACTOR, CONFIRM])
def test_wrong_recovery_code(app: Flask, cast: Cast, path: str) -> None:
    """The part of the page with the recovery code is folded away, but not where its error is."""
    codes = add_app(app, cast.ada).recovery_codes
    browser = half_signed_in(app, cast.ada)
    if path == CONFIRM:
        give_code(browser, codes[0])
    page = browser.get(path)
    assert details_in(page) == [""]
    typed = {"code": "", "recovery_code": "ABCD-EFGH", "csrf_token": token_in(page)}
    wrong = browser.client.post(path, data=typed)
    assert details_in(wrong) == ["open"]
    assert problems_in(wrong) == [("recovery_code", "The code is wrong")]
    assert "<title>Error: " in wrong.text
    shown = field(wrong, "recovery_code")
    assert (shown["aria-invalid"], shown["aria-describedby"]) == ("true", "recovery_code-hint recovery_code-error")
    assert "autofocus" not in field(wrong, "code")  # the summary has the focus
    assert "ABCD" not in wrong.text


def test_passkey_alone(app: Flask, cast: Cast, ada: Visitor) -> None:
    """Without an app there is no field for its code, so an error is at the field that there is."""
    own_passkey(ada)
    browser = half_signed_in(app, cast.ada)
    page = browser.get(FACTOR)
    assert 'id="code"' not in page.text
    assert details_in(page) == [""]
    assert "To use your passkey, turn JavaScript on" in page.text
    empty = browser.client.post(FACTOR, data={"recovery_code": "", "csrf_token": token_in(page)})
    assert problems_in(empty) == [("recovery_code", "The code is wrong")]
    assert 'href="#recovery_code"' in empty.text
    assert details_in(empty) == ["open"]


def test_qr_code(app: Flask, cast: Cast, ada: Visitor) -> None:
    """Apps want black on white with a margin, also in dark mode; the key says the same to people."""
    page, _ = enrolment(app, cast.ada, ada)
    (svg,) = re.findall(r"<svg.*?</svg>", page.text, re.DOTALL)
    assert "style" not in svg
    background, modules = re.findall(r"<path [^>]*>", svg)
    assert 'fill="#fff"' in background
    assert 'stroke="#000"' in modules
    assert re.findall(r'd="M4 4\.5h7', modules)  # four modules of margin
    assert 'role="img" aria-label="QR code for your authenticator app. The key below holds the same."' in page.text
    assert re.search(r'<code id="app-key" translate="no">([A-Z2-7]{4} ){7}[A-Z2-7]{4}</code>', page.text)
    assert "otpauth://totp/Enrol:ada%40example.com?" in page.text


def test_recovery_codes(app: Flask, cast: Cast, ada: Visitor) -> None:
    """They are shown once, as text that no browser translates, with whose they are and of when on paper."""
    page, code = enrolment(app, cast.ada, ada)
    (path,) = re.findall(r'action="(/account/factors/\w+/app)"', page.text)
    shown = ada.client.post(path, data={"code": f" {code[:3]} {code[3:]} ", "name": "", "csrf_token": token_in(page)})
    assert re.search(r'<pre id="recovery-codes" translate="no" tabindex="0"', shown.text)
    assert f'<bdi dir="auto">ada@example.com</bdi>, {clock.date(clock.now())}</p>' in shown.text
    assert "stopped working" not in shown.text
    ada.client.post(path.replace("/app", "/activate"), data={"csrf_token": token_in(shown)})
    again = ada.client.post(CODES, data={"csrf_token": ada.token(CODES)})
    assert "Those that you had before have stopped working." in again.text
    assert not set(codes_in(shown)) & set(codes_in(again))


def test_without_a_factor(cast: Cast, app: Flask) -> None:
    """The list is empty at first, and the account says what a second factor is for."""
    vera = signed_in(app, cast.vera)
    for path in (FACTORS, "/account"):
        assert "With a second factor, a stolen password is not enough." in vera.get(path).text
    assert "recovery codes" not in vera.get(FACTORS).text


def test_titles(app: Flask, cast: Cast, ada: Visitor) -> None:
    """The title names the page, and then the page above it."""
    new_app, _ = enrolment(app, cast.ada, ada)
    assert "<title>Add an authenticator app – Second factors – Enrol</title>" in new_app.text
    mine = f"{FACTORS}/{add_app(app, cast.ada).factor_id}"
    for path, title in (
        (FACTORS, "Second factors – Your account"),
        (f"{FACTORS}/passkey", "Add a passkey – Second factors"),
        (mine, "Rename Authenticator app – Second factors"),
        (f"{mine}/remove", "Remove this second factor? – Second factors"),
        (CODES, "Make new recovery codes? – Second factors"),
    ):
        assert f"<title>{title} – Enrol</title>" in ada.get(path).text
