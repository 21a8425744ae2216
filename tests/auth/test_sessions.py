"""A session ends in every process: after some time, on sign-out, on deactivation and when the password changes."""

from datetime import datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from support.databases import execute, rows
from support.people import PASSWORD, Cast, make_user
from support.visitors import Visitor, problems_in, signed_in
from users import clock
from users.auth import sessions
from users.roles import Role

pytestmark = pytest.mark.one_database

NEW = "another horse battery"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.moment = clock.now()

    def now(self) -> datetime:
        """Return the moment."""
        return self.moment

    def forward(self, **time: float) -> None:
        """Let time pass."""
        self.moment += timedelta(**time)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the service."""
    moved = Clock()
    monkeypatch.setattr(clock, "now", moved.now)
    return moved


def test_idle_end(time: Clock, ada: Visitor) -> None:
    """A session ends after 30 minutes without a request."""
    for _ in range(3):
        time.forward(minutes=29)
        assert ada.is_in
    time.forward(minutes=30)
    assert not ada.is_in


def test_absolute_end(time: Clock, ada: Visitor) -> None:
    """A session ends after 12 hours."""
    for _ in range(35):
        time.forward(minutes=20)
        assert ada.is_in
    time.forward(minutes=20)
    assert not ada.is_in


def test_last_seen(app: Flask, time: Clock, ada: Visitor) -> None:
    def seen() -> object:
        return rows(app, "SELECT last_seen_at FROM admin_sessions")[0][0]

    start = seen()
    time.forward(seconds=59)
    assert ada.is_in
    assert seen() == start
    time.forward(seconds=1)
    assert ada.is_in
    assert seen() != start


def test_table_holds_no_id(app: Flask, ada: Visitor) -> None:
    ((id_hash,),) = rows(app, "SELECT id_hash FROM admin_sessions")
    assert ada.session_id
    assert len(bytes(id_hash)) == 32
    assert ada.session_id.encode() not in bytes(id_hash)


def test_deactivation_and_deletion(app: Flask, cast: Cast, ada: Visitor, runner: FlaskCliRunner) -> None:
    omar, sam = [signed_in(app, cast.omar) for _ in range(2)], signed_in(app, cast.sam)
    assert ada.post(f"/admin/users/{cast.omar.id}/deactivate").status_code == 303
    assert not any(browser.is_in for browser in omar)
    assert ada.post(f"/admin/users/{cast.sam.id}/delete").status_code == 303
    assert not sam.is_in
    for user in (cast.omar, cast.sam):  # with their IP addresses
        assert rows(app, "SELECT 1 FROM admin_sessions WHERE user_id = :id", id=user.id) == []
    make_user(app, "olga@example.com", Role.ADMIN)
    assert runner.invoke(args=["users", "deactivate", "ada@example.com"]).exit_code == 0
    assert not ada.is_in


def test_password_set_by_another(app: Flask, cast: Cast, ada: Visitor) -> None:
    omar = signed_in(app, cast.omar)
    answer = ada.post(f"/admin/users/{cast.omar.id}/password", choice="type", password=NEW)
    assert answer.location == f"/admin/users/{cast.omar.id}"
    assert not omar.is_in
    assert omar.sign_in("omar@example.com", NEW).status_code == 303


def test_role_taken_away(app: Flask, cast: Cast, omar: Visitor) -> None:
    """The session goes on, with the account alone."""
    execute(app, "UPDATE users SET global_role_id = NULL WHERE id = :id", id=cast.omar.id)
    assert omar.is_in
    assert omar.get("/admin/users").status_code == 403


def test_own_new_password(app: Flask, cast: Cast, ada: Visitor) -> None:
    """It ends the other sessions and replaces this one."""
    other, before = signed_in(app, cast.ada), ada.session_id
    answer = ada.post("/account", current_password=PASSWORD, password=NEW)
    assert answer.location == "/account"
    assert "Password changed" in ada.get(answer.location).text
    assert ada.session_id != before
    assert not other.is_in
    other.session_id = before or ""
    assert not other.is_in
    assert other.sign_in("ada@example.com", NEW).status_code == 303


@pytest.mark.parametrize(
    ("current", "new", "problem"),
    [
        ("", NEW, ("current_password", "Enter your current password")),
        ("wrong horse battery", NEW, ("current_password", "The current password is wrong")),
        (PASSWORD, "short", ("password", "Password must be at least 15 characters")),
        (PASSWORD, "", ("password", "Enter a password")),
    ],
)
def test_refused_change(app: Flask, cast: Cast, ada: Visitor, current: str, new: str, problem: tuple[str, str]) -> None:
    other = signed_in(app, cast.ada)
    answer = ada.post("/account", current_password=current, password=new)
    assert answer.status_code == 422
    assert problems_in(answer) == [problem]
    assert NEW not in answer.text
    assert other.is_in


def test_expired_are_not_listed(app: Flask, cast: Cast, time: Clock, ada: Visitor) -> None:
    signed_in(app, cast.ada)
    time.forward(minutes=20)
    assert "2 sessions, newest first" in ada.get("/account").text
    time.forward(minutes=10)
    assert "You are signed in here only." in ada.get("/account").text


def test_end_others(app: Flask, cast: Cast, ada: Visitor) -> None:
    others = [signed_in(app, cast.ada) for _ in range(2)]
    assert "3 sessions, newest first" in ada.get("/account").text
    answer = ada.post("/account/sessions")
    assert "Your other sessions have ended" in ada.get(answer.location).text
    assert ada.is_in
    assert not any(other.is_in for other in others)
    assert rows(app, "SELECT 1 FROM audit_events WHERE action = 'session.end_others'")


@pytest.mark.parametrize("cookie", ["", "x", "ä", "'" * 4000])
def test_invalid_cookie(cast: Cast, visitor: Visitor, cookie: str) -> None:
    assert (
        visitor.get("/admin/users", headers={"Cookie": f"enrol={cookie}".encode().decode("latin-1")}).status_code == 303
    )


def test_database_cannot_write(time: Clock, ada: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    from users.errors import Unavailable

    def refuse(**_: object) -> None:
        raise Unavailable("away")

    time.forward(minutes=2)
    monkeypatch.setattr(sessions.database, "transaction", refuse)  # type: ignore[attr-defined]
    assert ada.is_in
