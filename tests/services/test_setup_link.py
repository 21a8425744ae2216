"""The first run: the set-up link creates one administrator, also if several people use it in parallel."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event

from support.databases import rows
from support.people import PASSWORD, make_user
from support.visitors import Visitor, problems_in
from users import clock
from users.passwords.hashing import PasswordPlace
from users.roles import Role
from users.services.links import setup_link
from users.storage.models import db

FORM = {"email": "ada@example.com", "first_name": "Ada", "password": PASSWORD}


def link(app: Flask) -> str:
    """Return the path of a new set-up link."""
    with app.app_context():
        return f"/setup?token={setup_link.issue()}"


def opened(app: Flask, path: str) -> Visitor:
    """Return a browser in which the link was opened."""
    visitor = Visitor(app.test_client())
    assert visitor.get(path).location == "/setup"
    return visitor


def test_redirect_to_set_up(visitor: Visitor) -> None:
    assert visitor.get("/").location == "/setup"
    page = visitor.get("/setup")
    assert page.status_code == 200
    assert "flask setup-link" in page.text


def test_creates_an_administrator(app: Flask) -> None:
    ada = opened(app, link(app))
    answer = ada.post("/setup", token=ada.token("/setup"), **FORM)
    assert (answer.status_code, answer.location) == (303, "/admin/start")
    page = ada.get("/admin/start").text
    assert "Get started" in page
    assert '<a href="/docs">Read the docs</a>' in page
    ((role, first_name),) = rows(app, "SELECT global_role_id, first_name FROM users")
    assert (role, first_name) == ("role_admin", "Ada")
    ((kind,),) = rows(app, "SELECT actor_kind FROM audit_events WHERE action = 'user.create'")
    assert kind == "setup"
    assert ada.client.get_cookie("enrol-setup") is None
    assert rows(app, "SELECT 1 FROM setup_links") == []


def test_token_moves_to_a_cookie(app: Flask, visitor: Visitor) -> None:
    path = link(app)
    answer = visitor.get(path)
    assert (answer.status_code, answer.location) == (303, "/setup")
    (cookie,) = answer.headers.getlist("Set-Cookie")
    assert {"HttpOnly", "SameSite=Lax", "Max-Age=1800"} <= set(cookie.split("; "))
    token = path.partition("=")[2]
    assert token not in visitor.get("/setup").text


def test_opening_uses_nothing_up(app: Flask) -> None:
    path = link(app)
    for _ in range(3):
        assert "Create the first administrator" in opened(app, path).get("/setup").text


def test_table_holds_no_token(app: Flask) -> None:
    token = link(app).partition("=")[2]
    ((token_hash,),) = rows(app, "SELECT token_hash FROM setup_links")
    assert len(bytes(token_hash)) == 32
    assert token.encode() not in bytes(token_hash)


def test_expiry(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = opened(app, link(app))
    token = ada.token("/setup")
    later = clock.now() + timedelta(minutes=30)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert "This set-up link has ended" in ada.get("/setup").text
    answer = ada.post("/setup", token=token, **FORM)
    assert answer.status_code == 403
    assert "This set-up link has ended" in answer.text
    assert rows(app, "SELECT 1 FROM users") == []


def test_newer_link(app: Flask) -> None:
    first = opened(app, link(app))
    second = opened(app, link(app))
    assert "This set-up link has ended" in first.get("/setup").text
    assert "Create the first administrator" in second.get("/setup").text


def test_administrator_exists(app: Flask, visitor: Visitor) -> None:
    path = link(app)
    ada = opened(app, path)
    assert ada.post("/setup", token=ada.token("/setup"), **FORM).status_code == 303
    assert visitor.get(path).status_code == 404
    assert visitor.get("/setup").status_code == 404
    assert visitor.get("/").location == "/admin"
    with app.app_context():
        assert setup_link.issue() is None


@pytest.mark.parametrize("cookie", ["", "guess", "ä"])
def test_no_token(app: Flask, visitor: Visitor, cookie: str) -> None:
    link(app)
    if cookie:
        visitor.client.set_cookie("enrol-setup", cookie)
    assert visitor.post("/setup", **FORM).status_code == 403
    assert rows(app, "SELECT 1 FROM users") == []


@pytest.mark.parametrize("token", [None, "", "x.y.z", "of another"])
def test_another_browser(app: Flask, token: str | None) -> None:
    path = link(app)
    ada = opened(app, path)
    ada.token("/setup")
    token = opened(app, path).token("/setup") if token == "of another" else token
    answer = ada.post("/setup", token=token, **FORM)
    assert answer.status_code == 400
    assert "This page was open for too long" in answer.text
    assert rows(app, "SELECT 1 FROM users") == []
    assert ada.post("/setup", token=ada.token("/setup"), **FORM).status_code == 303


def test_no_hash_for_strangers(app: Flask, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    def hash_(*_: object) -> str:
        raise AssertionError

    monkeypatch.setattr(PasswordPlace, "hash", hash_)
    visitor.client.set_cookie("enrol-setup", "x" * 43)
    assert visitor.post("/setup", **FORM).status_code == 403
    monkeypatch.undo()
    make_user(app, "ada@example.com", Role.ADMIN)
    monkeypatch.setattr(PasswordPlace, "hash", hash_)
    assert visitor.post("/setup", **{**FORM, "email": "eve@example.com"}).status_code == 404
    assert visitor.post("/setup", token=None, **FORM).status_code == 404


@pytest.mark.parametrize("token", ["x", "x" * 42, "x" * 44, "ä" * 43, "x" * 4000])
def test_invalid_token(visitor: Visitor, token: str) -> None:
    answer = visitor.get("/setup", query_string={"token": token})
    assert answer.status_code == 200
    assert not any("enrol-setup" in cookie for cookie in answer.headers.getlist("Set-Cookie"))


_MANY = """
    INSERT INTO users (id, email, email_key, password_hash, is_active, created_at, updated_at)
    SELECT 'usr_' || n, n || '@example.com', n, '', true, now(), now() FROM generate_series(1, 5000) AS n
"""


@pytest.mark.parametrize("path", ["/", "/setup"])
def test_index_is_used(app: Flask, visitor: Visitor, path: str) -> None:
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    visitor.get(path)
    event.remove(engine, "before_cursor_execute", note)
    ((statement, parameters),) = [one for one in asked if "FROM users" in one[0]]
    assert "LIMIT" in statement
    with engine.connect() as connection:
        is_sqlite = engine.dialect.name == "sqlite"
        if not is_sqlite:  # Postgres plans by the number of rows; rolled back with the connection
            connection.exec_driver_sql(_MANY)
            connection.exec_driver_sql("ANALYZE users")
        plan = connection.exec_driver_sql(f"EXPLAIN {'QUERY PLAN ' if is_sqlite else ''}{statement}", parameters).all()
    assert "ix_users_role_segment_id" in str(plan)


def test_errors(app: Flask) -> None:
    ada = opened(app, link(app))
    answer = ada.post("/setup", token=ada.token("/setup"), email="ada", first_name="Ada", password="short")
    assert answer.status_code == 422
    assert [name for name, _ in problems_in(answer)] == ["email", "password"]
    assert 'value="Ada"' in answer.text
    assert 'value="short"' not in answer.text


def test_parallel_set_ups(app: Flask) -> None:
    path = link(app)
    racers = [opened(app, path) for _ in range(5)]
    tokens = [racer.token("/setup") for racer in racers]

    def go(number: int) -> int:
        fields = {**FORM, "email": f"racer{number}@example.com"}
        return int(racers[number].post("/setup", token=tokens[number], **fields).status_code)

    with ThreadPoolExecutor(len(racers)) as pool:
        statuses = sorted(pool.map(go, range(len(racers))))
    assert statuses == [303, 404, 404, 404, 404]
    assert len(rows(app, "SELECT 1 FROM users")) == 1


def test_loser_of_the_race(app: Flask) -> None:
    path = link(app)
    first, second = opened(app, path), opened(app, path)
    token = second.token("/setup")
    assert first.post("/setup", token=first.token("/setup"), **FORM).status_code == 303
    answer = second.post("/setup", token=token, **{**FORM, "email": "eve@example.com"})
    assert answer.status_code == 404
    assert "<h1>There is an administrator already</h1>" in answer.text
    assert "<h1>There is an administrator already</h1>" in second.get("/setup").text
