"""Recovery codes: 120 bits each, one use each, read as people type them."""

import hashlib
import re

import pytest
from flask import Flask

from support.databases import everything_stored, rows
from support.factors import App, add_app
from support.people import Cast, as_actor
from support.second_steps import half_way
from users.auth.factors import recovery_codes
from users.services import second_factors


@pytest.fixture
def mine(app: Flask, cast: Cast) -> App:
    """Ada's app and recovery codes."""
    return add_app(app, cast.ada)


def count_left(app: Flask, cast: Cast) -> int:
    """Return how many codes Ada has left."""
    with app.app_context():
        return recovery_codes.count_left(cast.ada.id)


@pytest.mark.one_database
def test_form(mine: App) -> None:
    """Ten codes of 24 letters of 5 bits, in groups of four; no letter looks like another."""
    codes = mine.recovery_codes
    assert len(set(codes)) == 10
    assert all(re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){5}", code) for code in codes)
    assert len(set(recovery_codes.ALPHABET)) == 32 == len(recovery_codes.ALPHABET)
    assert not set("ILOU") & set(recovery_codes.ALPHABET)
    assert len(set("".join(codes))) > 24  # of 33: all letters are used


@pytest.mark.one_database
def test_stored(app: Flask, cast: Cast, mine: App) -> None:
    """Their plain SHA-256 is stored: nobody guesses 120 bits."""
    expected = {hashlib.sha256(code.replace("-", "").encode()).digest() for code in mine.recovery_codes}
    found = rows(app, "SELECT code_hash, used_at FROM recovery_codes WHERE user_id = :id", id=cast.ada.id)
    assert {bytes(row.code_hash) for row in found} == expected
    assert {row.used_at for row in found} == {None}
    stored = everything_stored(app)
    assert not [code for code in mine.recovery_codes if code in stored or code.replace("-", "") in stored]


def test_one_use(app: Flask, cast: Cast, mine: App) -> None:
    for number, code in enumerate(mine.recovery_codes):
        assert count_left(app, cast) == 10 - number
        assert half_way(app, cast.ada).answer(code) == "in"
        assert half_way(app, cast.ada, ip_address=f"192.0.2.{number}").answer(code) == "wrong"
    assert count_left(app, cast) == 0
    assert half_way(app, cast.ada).answer(mine.code()) == "in"


@pytest.mark.one_database
@pytest.mark.parametrize("typed", ["lower", "bare", "spaces", "hyphens", "look-alikes"])
def test_as_typed(app: Flask, cast: Cast, mine: App, typed: str) -> None:
    """Case, spaces and hyphens do not matter; letters that look like others are read as those."""
    # A code with what is misread: the ten have 240 letters of 32.
    code = next(code for code in mine.recovery_codes if set("10V") & set(code))
    forms = {
        "lower": code.lower(),
        "bare": code.replace("-", ""),
        "spaces": f"\t{code.replace('-', ' ')} \u00a0\n",
        "hyphens": "-".join(code.replace("-", "")),
        "look-alikes": code.replace("1", "l").replace("0", "O").replace("V", "u"),
    }
    assert forms[typed] != code
    assert half_way(app, cast.ada).answer(forms[typed]) == "in"


@pytest.mark.one_database
def test_part_of_a_code(app: Flask, cast: Cast, mine: App) -> None:
    code = mine.recovery_codes[0]
    steps = half_way(app, cast.ada)
    assert [steps.answer(part) for part in ("", code[:-1], f"{code}0", code * 2)] == ["wrong"] * 4
    assert count_left(app, cast) == 10


def test_new_codes_end_the_old(app: Flask, cast: Cast, mine: App) -> None:
    assert half_way(app, cast.ada).answer(mine.recovery_codes[0]) == "in"
    actor = as_actor(app, cast.ada)
    with app.app_context():
        new = second_factors.new_codes(actor=actor)
    assert not set(new) & set(mine.recovery_codes)
    assert count_left(app, cast) == 10
    steps = half_way(app, cast.ada)
    assert [steps.answer(code) for code in (mine.recovery_codes[1], new[0])] == ["wrong", "in"]
