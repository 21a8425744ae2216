"""The cookie that makes a browser known."""

import pytest
from flask import Flask

from app import create_app
from support.application import CHEAP, SECRET_KEY, dispose
from support.guessers import WRONG, Guesser, Time, flood
from support.people import Cast, make_user
from support.visitors import Visitor
from users.auth import known_devices
from users.auth.known_devices import Device
from users.roles import Role

NEW = "another horse battery"


@pytest.mark.one_database
def test_lifetime(app: Flask, cast: Cast, time: Time) -> None:
    """A browser is known for 180 days, and until a new password."""
    with app.app_context():
        device = Device("own").with_user(cast.ada)
        assert device.knows(cast.ada)
        assert not device.knows(cast.omar)
        assert not Device("other", device.marks).knows(cast.ada)
        time.pass_by(days=180)
        assert device.knows(cast.ada)
        time.pass_by(days=1)
        assert not device.knows(cast.ada)
        time.pass_by(days=-1)
        cast.ada.password_changed_at = time.now
        assert not device.knows(cast.ada)


@pytest.mark.one_database
def test_last_five_users(app: Flask, cast: Cast) -> None:
    people = [make_user(app, f"{number}@example.com", Role.AUDITOR) for number in range(6)]
    with app.app_context():
        device = known_devices.read("")
        for user in [*people, people[3], people[3]]:
            device = device.with_user(user)
        assert [device.knows(user) for user in people] == [False, True, True, True, True, True]
        assert known_devices.read(device.as_cookie()) == device


@pytest.mark.one_database
def test_forged_cookie(app: Flask, cast: Cast) -> None:
    with app.app_context():
        device = known_devices.read("").with_user(cast.ada)
        cookie = device.as_cookie()
        assert cast.ada.id not in cookie
        assert cast.ada.email not in cookie
        for position in range(len(cookie)):
            forged = cookie[:position] + ("A" if cookie[position] != "A" else "B") + cookie[position + 1 :]
            assert not known_devices.read(forged).knows(cast.ada), position
        for broken in ("", "x", "~", cookie * 2, cookie + "~", "\0" * 40, "é" * 30):
            assert not known_devices.read(broken).knows(cast.ada)


@pytest.mark.one_database
def test_rotated_secret_key(app: Flask, cast: Cast, database_url: str) -> None:
    with app.app_context():
        device = Device("own").with_user(cast.ada)
    new = {**CHEAP, "DATABASE_URL": database_url, "SECRET_KEY": "".join(reversed(SECRET_KEY)) + "0123456789"}
    for fallbacks, known in ((SECRET_KEY, True), ("", False)):
        rotated = create_app({**new, "SECRET_KEY_FALLBACKS": fallbacks})
        with rotated.app_context():
            assert device.knows(cast.ada) is known
        dispose(rotated)


@pytest.mark.one_database
def test_sign_in_makes_known(app: Flask, cast: Cast, ada: Visitor, guesser: Guesser) -> None:
    flood(guesser, "ada@example.com")
    ada.post("/admin/logout")
    assert ada.sign_in("ada@example.com").status_code == 303
    assert Visitor(app.test_client()).sign_in("ada@example.com").status_code == 429


@pytest.mark.one_database
def test_wrong_password_sets_no_cookie(cast: Cast, visitor: Visitor) -> None:
    visitor.sign_in("ada@example.com", WRONG)
    assert visitor.client.get_cookie("enrol-device") is None
