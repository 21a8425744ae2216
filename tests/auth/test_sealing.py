"""Sealed secrets of apps, and what a changed SECRET_KEY does to them."""

import base64
from collections.abc import Callable, Iterator

import pytest
from flask import Flask

from app import create_app
from support.application import CHEAP, SECRET_KEY, dispose
from support.databases import everything_stored, rows
from support.factors import FACTOR, FACTORS, App, add_app, half_signed_in
from support.people import Cast
from support.second_steps import half_way
from support.visitors import Visitor
from users.auth.factors import held, sealing

NEW_KEY = "".join(reversed(SECRET_KEY)) + "0123456789"
CHANGED = "secret key of this service has changed"
Rotate = Callable[[str, str], Flask]


@pytest.fixture
def mine(app: Flask, cast: Cast) -> App:
    """Ada's app."""
    return add_app(app, cast.ada)


@pytest.fixture
def rotate(database_url: str) -> Iterator[Rotate]:
    """A function that makes the application anew, with a secret key and its fallback."""
    made = []

    def with_keys(key: str, fallback: str) -> Flask:
        given = {**CHEAP, "DATABASE_URL": database_url, "SECRET_KEY": key, "SECRET_KEY_FALLBACKS": fallback}
        made.append(create_app({**given, "TESTING": True}))
        return made[-1]

    yield with_keys
    for one in made:
        dispose(one)


def is_readable(app: Flask, cast: Cast) -> bool:
    """Tell whether Ada's app can be checked."""
    with app.app_context():
        (factor,) = held.of_user(cast.ada.id)
        return held.is_readable(factor)


@pytest.mark.one_database
def test_nothing_plain(app: Flask, mine: App) -> None:
    """The database holds the secret in no form."""
    stored = everything_stored(app)
    ((sealed,),) = rows(app, "SELECT secret FROM second_factors")
    secret = mine.totp.byte_secret()
    assert secret not in bytes(sealed)
    for form in (mine.totp.secret, secret.hex(), str(secret), base64.b64encode(secret).decode()):
        assert form not in stored


@pytest.mark.one_database
def test_seal(app: Flask) -> None:
    """The same secret is sealed another way each time; no changed byte is opened."""
    with app.app_context():
        sealed = sealing.seal(b"secret")
        assert sealing.seal(b"secret") != sealed
        assert sealing.unseal(sealed) == b"secret"
        assert sealing.seal_again(sealed) == sealed
        changed = sealed[:40] + (b"B" if sealed[40:41] == b"A" else b"A") + sealed[41:]
        for broken in (b"", sealed[:-1], b"x" + sealed, b"secret", changed):
            with pytest.raises(sealing.Unreadable):
                sealing.unseal(broken)


def test_fallback(app: Flask, cast: Cast, mine: App, rotate: Rotate) -> None:
    """With the old key as a fallback codes go on. The first use seals anew: then the fallback may go."""
    rotated = rotate(NEW_KEY, SECRET_KEY)
    assert half_way(rotated, cast.ada).answer("000000") == "wrong"
    assert not is_readable(rotate(NEW_KEY, ""), cast)
    assert half_way(rotated, cast.ada).answer(mine.code()) == "in"
    without = rotate(NEW_KEY, "")
    assert is_readable(without, cast)
    assert half_way(without, cast.ada).answer(mine.code()) == "in"


@pytest.mark.one_database
def test_without_fallback(app: Flask, cast: Cast, mine: App, rotate: Rotate) -> None:
    """No code is right. The pages say so, and a recovery code signs in and confirms."""
    changed = rotate(NEW_KEY, "")
    assert not is_readable(changed, cast)
    assert half_way(changed, cast.ada).answer(mine.code()) == "wrong"
    visitor = half_signed_in(changed, cast.ada)
    assert CHANGED in visitor.get(FACTOR).text
    answer = recover(visitor, mine.recovery_codes[0])
    assert answer == "/admin"
    assert CHANGED in visitor.get(FACTORS).text


def recover(visitor: Visitor, code: str) -> str | None:
    """Give a recovery code at the sign-in, and return where it leads."""
    data = {"recovery_code": code, "csrf_token": visitor.token(FACTOR)}
    location: str | None = visitor.client.post(FACTOR, data=data).location
    return location
