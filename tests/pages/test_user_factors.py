"""The second factor of another user at the pages: shown to those who may change the user, and reset."""

import html
import re
from dataclasses import replace

import pytest
from flask import Flask

from support.api import Answer
from support.databases import rows
from support.factors import CONFIRM, FACTORS, add_app, confirm, fully_signed_in, grow_old, half_signed_in
from support.page_forms import acts_on
from support.people import PASSWORD, Cast, make_user
from support.visitors import Visitor, signed_in, token_in
from users.auth.factors.held import Kind
from users.roles import Role
from users.services import second_factors
from users.storage.models import SecondFactor


def reset_page(user_id: str) -> str:
    """Return the path of the page that resets the user's second factor."""
    return f"/admin/users/{user_id}/reset-second-factor"


def facts_of(page: Answer) -> dict[str, str]:
    """Return the facts about the user that the page shows."""
    found = re.findall(r"<div><dt>(.*?)</dt><dd>(.*?)</dd></div>", page.text, re.DOTALL)
    return {label: html.unescape(re.sub(r"<[^>]+>", "", words)).strip() for label, words in found}


def test_reset(app: Flask, cast: Cast, ada: Visitor) -> None:
    """The page asks first and says the effect; then the password alone signs the user in."""
    mine = add_app(app, cast.omar)
    omar = fully_signed_in(app, cast.omar, mine)
    half = half_signed_in(app, cast.omar)
    user = ada.get(f"/admin/users/{cast.omar.id}")
    assert facts_of(user)["Second factor"] == "Authenticator app"
    assert reset_page(cast.omar.id) in user.text
    question = ada.get(reset_page(cast.omar.id)).text
    assert "All second factors (Authenticator app) and recovery codes of" in question
    assert "their password alone signs them in, until they add a new second factor" in question

    answer = ada.post(reset_page(cast.omar.id))
    assert answer.location == f"/admin/users/{cast.omar.id}"
    user = ada.get(answer.location)
    assert "Second factor reset. The user’s sessions have ended" in user.text
    assert facts_of(user)["Second factor"] == "None"
    assert reset_page(cast.omar.id) not in user.text
    assert not omar.is_in
    assert half.get("/admin/login/factor").location.startswith("/admin/login")
    assert rows(app, "SELECT 1 FROM recovery_codes WHERE user_id = :id", id=cast.omar.id) == []
    assert acts_on(app, cast.omar.id).count("factor.reset") == 1
    signed_in(app, cast.omar)


@pytest.mark.one_database
def test_reset_where_required(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a second factor is required, the page says that the user must add a new one."""
    olga = make_user(app, "olga@example.com", Role.ADMIN)
    add_app(app, olga)
    mine = add_app(app, cast.ada)
    required = replace(app.extensions["enrol.settings"], require_second_factor="administrators")
    monkeypatch.setitem(app.extensions, "enrol.settings", required)
    ada = fully_signed_in(app, cast.ada, mine)
    assert "signs them in, and they must add a new second factor" in ada.get(reset_page(olga.id)).text
    ada.post(reset_page(olga.id))
    again = Visitor(app.test_client())
    assert again.sign_in(olga.email).location == FACTORS


@pytest.mark.one_database
def test_reset_without_factor(app: Flask, cast: Cast, ada: Visitor, omar: Visitor) -> None:
    """Without a second factor there is nothing to reset, and a form sent twice ends no session."""
    assert "There is no second factor to reset" in ada.get(reset_page(cast.omar.id)).text
    assert ada.post(reset_page(cast.omar.id)).status_code == 303
    assert omar.is_in
    assert "factor.reset" not in acts_on(app, cast.omar.id)


@pytest.mark.one_database
def test_own_factors(app: Flask, cast: Cast) -> None:
    """Nobody resets their own second factor: the way leads to the account's page, and the factor stays."""
    mine = add_app(app, cast.ada)
    ada = fully_signed_in(app, cast.ada, mine)
    user = ada.get(f"/admin/users/{cast.ada.id}")
    assert facts_of(user)["Second factor"] == "Authenticator app"
    assert reset_page(cast.ada.id) not in user.text
    assert ada.get(reset_page(cast.ada.id)).location == FACTORS
    assert ada.post(reset_page(cast.ada.id)).location == FACTORS
    assert rows(app, "SELECT id FROM second_factors") == [(mine.factor_id,)]


@pytest.mark.one_database
def test_reset_by_who_may_change_less(app: Flask, cast: Cast, omar: Visitor) -> None:
    """An operator neither sees nor resets an administrator's second factor."""
    mine = add_app(app, cast.ada)
    assert "Second factor" not in facts_of(omar.get(f"/admin/users/{cast.ada.id}"))
    assert omar.get(reset_page(cast.ada.id)).status_code == 403
    assert omar.post(reset_page(cast.ada.id)).status_code == 403
    assert rows(app, "SELECT id FROM second_factors") == [(mine.factor_id,)]


@pytest.mark.one_database
def test_step_up(app: Flask, cast: Cast, ada: Visitor) -> None:
    """The reset wants a fresh proof that it is the administrator, at the question and at the act."""
    mine = add_app(app, cast.omar)
    opened = ada.get(reset_page(cast.omar.id))
    grow_old(app, cast.ada)
    assert ada.get(reset_page(cast.omar.id)).location.startswith(CONFIRM)
    answer = ada.client.post(reset_page(cast.omar.id), data={"csrf_token": token_in(opened)})
    assert answer.status_code == 403
    assert "Confirm that it is you" in answer.text
    assert rows(app, "SELECT id FROM second_factors") == [(mine.factor_id,)]
    confirm(ada, password=PASSWORD)
    assert ada.post(reset_page(cast.omar.id)).status_code == 303
    assert rows(app, "SELECT id FROM second_factors") == []


def test_names_of_kinds() -> None:
    """Each kind is named once."""
    factors = [SecondFactor(kind=kind) for kind in (Kind.APP, Kind.PASSKEY, Kind.APP)]
    assert second_factors.in_words(factors) == "Authenticator app, passkey"
    assert second_factors.in_words(factors[1:2]) == "Passkey"
    assert second_factors.in_words([]) == "None"


@pytest.mark.one_database
def test_all_administrators_have_one(app: Flask, cast: Cast, ada: Visitor) -> None:
    add_app(app, cast.ada)
    assert "no second factor" not in ada.get("/admin/users").text
