"""The command, the page and a new password unlock an account."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from support.api import Api
from support.databases import rows
from support.guessers import Guesser, Time, ask, flood
from support.people import PASSWORD, Cast, make_key, make_user
from support.visitors import Visitor, signed_in
from users.roles import Permission, Role

NEW = "another horse battery"


@pytest.fixture
def locked_out(app: Flask, cast: Cast, guesser: Guesser, time: Time) -> Callable[[], str]:
    """Lock Ada's account; return a function that tries a password from elsewhere."""
    flood(guesser, "ada@example.com")

    def enter(password: str = PASSWORD) -> str:
        return guesser.guess("ada@example.com", "192.0.2.1", password)

    assert enter() == "locked"
    return enter


@pytest.mark.one_database
def test_command_unlocks(locked_out: Callable[[], str], runner: FlaskCliRunner) -> None:
    done = runner.invoke(args=["users", "unlock", "ADA@example.com"])
    assert (done.exit_code, done.stderr) == (0, "User unlocked: ada@example.com\n")
    assert locked_out() == "in"


def test_page_unlocks(app: Flask, cast: Cast, locked_out: Callable[[], str], runner: FlaskCliRunner) -> None:
    grace = signed_in(app, make_user(app, "grace@example.com", Role.ADMIN))
    assert f'href="/admin/users/{cast.ada.id}/unlock"' in grace.get(f"/admin/users/{cast.ada.id}").text
    assert "Unlock this user?" in grace.get(f"/admin/users/{cast.ada.id}/unlock").text
    answer = grace.post(f"/admin/users/{cast.ada.id}/unlock")
    assert "User unlocked. They can try their password again" in grace.get(answer.location).text
    assert "There is nothing to unlock" in grace.get(f"/admin/users/{cast.ada.id}/unlock").text
    assert locked_out() == "in"
    ((actor, target),) = rows(app, "SELECT actor_user_id, target_id FROM audit_events WHERE action = 'user.unlock'")
    assert (actor != cast.ada.id, target) == (True, cast.ada.id)


@pytest.mark.one_database
def test_unlock_needs_permissions(app: Flask, cast: Cast, locked_out: Callable[[], str], omar: Visitor) -> None:
    """An operator does not unlock an administrator."""
    assert omar.get(f"/admin/users/{cast.ada.id}/unlock").status_code == 403
    assert omar.post(f"/admin/users/{cast.ada.id}/unlock").status_code == 403
    assert locked_out() == "locked"


def set_password(app: Flask, user_id: str, door: str, runner: FlaskCliRunner, key: str) -> None:
    """Give the user the password NEW, by an administrator at one of the doors."""
    if door == "page":
        grace = signed_in(app, make_user(app, "grace@example.com", Role.ADMIN))
        assert grace.post(f"/admin/users/{user_id}/password", choice="type", password=NEW).status_code == 303
    elif door == "API":
        assert Api(app.test_client(), key).patch_user(user_id, password=NEW).status_code == 200
    else:
        done = runner.invoke(args=["users", "set-password", user_id, "--password-stdin"], input=NEW)
        assert done.exit_code == 0


@pytest.mark.one_database
@pytest.mark.parametrize("door", ["page", "API", "command line"])
def test_new_password_unlocks(
    app: Flask, cast: Cast, locked_out: Callable[..., str], runner: FlaskCliRunner, door: str
) -> None:
    set_password(app, cast.ada.id, door, runner, make_key(app, *Permission))
    assert locked_out() == "wrong"
    assert locked_out(NEW) == "in"


@pytest.mark.one_database
def test_own_new_password_unlocks(app: Flask, cast: Cast, guesser: Guesser, ada: Visitor) -> None:
    flood(guesser, "ada@example.com")
    assert ada.post("/account", current_password=PASSWORD, password=NEW).status_code == 303
    assert guesser.guess("ada@example.com", "192.0.2.1", NEW) == "in"


@pytest.mark.one_database
def test_unlock_at_both_doors(
    verifier: Api, app: Flask, cast: Cast, guesser: Guesser, runner: FlaskCliRunner, time: Time
) -> None:
    wide = make_key(app, *Permission)
    flood(guesser, "ada@example.com")
    for number in range(100):
        ask(verifier, f"198.51.{number // 5}.7", email="ada@example.com", key=wide)
    assert runner.invoke(args=["users", "unlock", "ada@example.com"]).exit_code == 0
    assert ask(verifier, "203.0.113.1", PASSWORD, "ada@example.com", key=wide) == "in"
    assert guesser.guess("ada@example.com", "203.0.113.1", PASSWORD) == "in"
    assert [bytes(row.key) for row in rows(app, "SELECT key FROM throttles WHERE account IS NOT NULL")] == []


@pytest.mark.one_database
@pytest.mark.parametrize("door", ["page", "API", "command line"])
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_new_password_gives_the_tries_back(
    app: Flask, cast: Cast, verifier: Api, runner: FlaskCliRunner, door: str, known: bool
) -> None:
    """It works at once in the browser and from the network where ten wrong ones came from."""
    browser = signed_in(app, cast.omar) if known else Visitor(app.test_client())
    browser.client.delete_cookie("enrol")
    wide, ip = make_key(app, *Permission), "192.0.2.1"
    if known:
        assert ask(verifier, ip, PASSWORD, "omar@example.com", key=wide) == "in"
    for _ in range(11):
        page = browser.sign_in("omar@example.com", "wrong horse battery")
        told = ask(verifier, ip, email="omar@example.com", key=wide)
        alone = ask(verifier, None, email="omar@example.com", key=wide)
    assert (page.status_code, told, alone) == (429, "refused", "refused")
    set_password(app, cast.omar.id, door, runner, wide)
    assert browser.sign_in("omar@example.com", NEW).status_code == 303
    assert ask(verifier, ip, NEW, "omar@example.com", key=wide) == "in"
    assert ask(verifier, None, NEW, "omar@example.com", key=wide) == "in"
