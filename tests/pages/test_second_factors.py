"""Second factors at the pages: add one, sign in with it, lose it."""

import re

import pytest
from flask import Flask
from pyotp import TOTP

from support.factors import FACTOR, FACTORS, STEP, add_app, codes_in, give_code, half_signed_in
from support.people import Cast
from support.visitors import Visitor, problems_in, token_in
from users import clock
from users.auth.factors import recovery_codes
from users.storage import database


def test_journey(app: Flask, cast: Cast, ada: Visitor) -> None:
    """An app is added with a right code and recovery codes; then a sign-in needs a code, or one of those."""
    began = ada.post(f"{FACTORS}/app", token=ada.token(FACTORS))
    page = ada.get(began.location)
    key = re.findall(r'<code id="app-key"[^>]*>([^<]+)<', page.text)[0].replace(" ", "")
    totp = TOTP(key)
    wrong = ada.client.post(began.location, data={"csrf_token": token_in(page), "code": "000000"})
    assert problems_in(wrong) == [("code", "The code is wrong")]
    shown = ada.client.post(
        began.location, data={"csrf_token": token_in(page), "code": totp.at(clock.now()), "name": "My phone"}
    )
    codes = codes_in(shown)
    assert len(codes) == 10
    assert "Your password is all" in ada.get(FACTORS).text
    activate = re.findall(r'action="(/account/factors/\w+/activate)"', shown.text)[0]
    done = ada.client.post(activate, data={"csrf_token": token_in(shown)})
    assert done.location == FACTORS
    assert "My phone" in ada.get(FACTORS).text

    half = half_signed_in(app, cast.ada)
    assert half.get("/admin/users").location == FACTOR
    assert problems_in(give_code(half, "123 45")) == [("code", "The code is wrong")]
    before = half.session_id
    assert give_code(half, totp.at(clock.now() + STEP)).location == "/admin"
    assert half.session_id != before
    assert half.get("/admin/users").status_code == 200

    lost = half_signed_in(app, cast.ada)
    answer = lost.client.post(FACTOR, data={"csrf_token": lost.token(FACTOR), "recovery_code": codes[0].lower()})
    assert answer.location == "/admin"
    assert "You have 9 recovery codes left." in lost.get(FACTORS).text


@pytest.mark.parametrize(
    ("left", "number"),
    [(9, "9 recovery codes"), (2, "2 recovery codes"), (1, "1 recovery code"), (0, "no recovery codes")],
)
def test_recovery_codes_run_out(app: Flask, cast: Cast, left: int, number: str) -> None:
    """A sign-in with a recovery code says once how many are left, and at two asks for new ones. So does the account."""
    codes = add_app(app, cast.ada).recovery_codes
    with app.app_context(), database.transaction() as session:
        for code in codes[left + 1 :]:
            assert recovery_codes.take(session, cast.ada.id, code, clock.now())
    browser = half_signed_in(app, cast.ada)
    give_code(browser, f" {codes[left].lower().replace('-', ' ')} ")
    asks, link = left <= 2, 'href="/account/recovery-codes"'
    page = browser.get("/admin/users").text
    assert f"You signed in with a recovery code. You have {number} left." in page
    assert (link in page) is asks
    assert "recovery code" not in browser.get("/admin/users").text
    account = browser.get("/account").text
    assert account.count(f"You have {number} left.") == 1
    assert (link in account) is asks
