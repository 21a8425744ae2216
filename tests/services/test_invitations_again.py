"""An invitation sent again under its Idempotency-Key: one user, and the same link or none. No link is kept."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app import create_app
from support.application import CHEAP, SECRET_KEY, dispose
from support.changes import TERMINAL
from support.databases import execute, rows
from support.password_links import ENDINGS, OLD_CODE, has_ended, make, use
from support.people import Cast, as_actor
from users import clock
from users.actors import Actor
from users.errors import IdempotencyKeyReused, TooManyBodies
from users.rules import validation
from users.services import idempotency, user_changes, user_purge
from users.services.idempotency import CreatedUser
from users.services.links.password_links import PasswordLink
from users.storage import database
from users.storage.models import User, db

NEED_PASSWORD = ("password changed", "password chosen", "same password set")


@pytest.fixture
def omar(app: Flask, cast: Cast) -> Any:
    """The holder of the API key that sends all, in the context of the application."""
    actor = as_actor(app, cast.omar)
    with app.app_context():
        yield actor


def send(actor: Actor, key: str = "a key", *, invites: bool = True, **body: object) -> CreatedUser:
    """Send an invitation, or a create, as the API does."""
    assert actor.key_id
    body = {"email": "jo@example.com", **body}
    request = idempotency.request_of(actor.key_id, key, body, act="invite" if invites else "")
    if kept := idempotency.find_answer(request, actor=actor):
        return kept
    if invites:
        new, lifetime = validation.invitation(body, validation.Rules())
        return idempotency.invite(new, request, lifetime=lifetime, actor=actor)
    new = validation.new_user(body, validation.Rules())
    return idempotency.create_user(new, request, actor=actor)


def link_in(answer: CreatedUser) -> PasswordLink:
    """Return the link of an answer, which must have one."""
    assert answer.link
    return answer.link


def seen(answer: CreatedUser) -> tuple[Any, ...]:
    """Return what must be the same each time."""
    return list(answer.user.items()), answer.etag, link_in(answer).token, link_in(answer).ends_at


def test_same_answer(app: Flask, omar: Actor) -> None:
    first = send(omar, first_name="Jo")
    assert not first.replayed
    for _ in range(2):
        again = send(omar, first_name="Jo")
        assert (seen(again), again.replayed) == (seen(first), True)
    assert len(rows(app, "SELECT 1 FROM users WHERE email = 'jo@example.com'")) == 1
    made = "SELECT action, fields FROM audit_events WHERE target_id = :id ORDER BY id"
    acts = [(row.action, str(row.fields).replace('"', "'")) for row in rows(app, made, id=first.user["id"])]
    assert acts == [("user.create", "['email', 'first_name']"), ("password_link.create", "[]")]
    assert use(link_in(again)).has_password


def test_after_the_end(app: Flask, omar: Actor) -> None:
    """Whatever has ended the link, by this version or by an older one beside it: no link, and never a newer one."""
    ends: dict[str, Any] = {name: end for name, end in ENDINGS.items() if name not in NEED_PASSWORD}
    for name, change in OLD_CODE.items():
        statement = f"UPDATE users SET {change.replace('new@', f'{name}@')} WHERE id = :id"
        ends[f"{name} by older code"] = lambda app, user, _, statement=statement: execute(app, statement, id=user.id)
    for number, (name, end) in enumerate(ends.items()):
        email = f"{number}@example.com"
        first = send(omar, name, email=email)
        end(app, User(id=first.user["id"], email=email), first.link)
        again = send(omar, name, email=email)
        assert (again.user, again.etag, again.link, again.replayed) == (first.user, first.etag, None, True), name
        assert has_ended(link_in(first)), name


@pytest.mark.one_database
def test_newer_link_of_the_same_lifetime(omar: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now)
    first = link_in(send(omar, expires_in=300))
    make(first.user, lifetime=timedelta(seconds=300))
    assert send(omar, expires_in=300).link is None


@pytest.mark.one_database
def test_other_spelling(app: Flask, omar: Actor) -> None:
    """The link is still open, so the answer still has it."""
    first = send(omar)
    execute(app, "UPDATE users SET email = 'JO@example.com', email_changed_at = updated_at WHERE email LIKE 'jo@%'")
    assert seen(send(omar)) == seen(first)


def test_expiry(omar: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    first = send(omar, expires_in=300)
    ends_at = link_in(first).ends_at
    monkeypatch.setattr(clock, "now", lambda: ends_at - timedelta(microseconds=1))
    assert seen(send(omar, expires_in=300)) == seen(first)
    monkeypatch.setattr(clock, "now", lambda: ends_at)
    assert send(omar, expires_in=300).link is None


def test_new_secret_key(omar: Actor, database_url: str) -> None:
    """With the old key as a fallback the answer is the same to the letter; without it, it cannot be compared."""
    first = send(omar)
    given = {**CHEAP, "DATABASE_URL": database_url, "SECRET_KEY": "0123456789abcdef" * 4}
    for fallbacks in (f"{'fedcba9876543210' * 4},{SECRET_KEY}", ""):
        rotated = create_app({**given, "SECRET_KEY_FALLBACKS": fallbacks})
        with rotated.app_context():
            if fallbacks:
                assert seen(send(omar)) == seen(first)
                assert use(link_in(send(omar))).has_password
            else:
                with pytest.raises(IdempotencyKeyReused):
                    send(omar)
        dispose(rotated)


@pytest.mark.one_database
def test_create_and_invitation_under_one_key(app: Flask, omar: Actor) -> None:
    """They are two requests, also with the same body."""
    send(omar, "first", email="first@example.com")
    send(omar, "second", email="second@example.com", password="three random words", invites=False)
    with pytest.raises(IdempotencyKeyReused):
        send(omar, "first", email="first@example.com", invites=False)
    with pytest.raises(IdempotencyKeyReused):
        send(omar, "second", email="second@example.com", password="three random words")
    assert len(rows(app, "SELECT 1 FROM users WHERE email IN ('first@example.com', 'second@example.com')")) == 2


@pytest.mark.one_database
def test_ten_other_bodies(app: Flask, omar: Actor) -> None:
    first = send(omar)
    for number in range(10):
        with pytest.raises(IdempotencyKeyReused):
            send(omar, first_name=f"{number}")
    with pytest.raises(TooManyBodies):
        send(omar, first_name="Jo")
    with pytest.raises(TooManyBodies):
        send(omar)
    refused = "SELECT action, target_id FROM audit_events WHERE outcome = 'throttled'"
    assert [tuple(row) for row in rows(app, refused)] == [("user.create", first.user["id"])]


def test_no_link_is_kept(app: Flask, omar: Actor) -> None:
    """Neither a table nor a byte of the file holds the link, its signature or a hash of it."""
    tokens = [link_in(send(omar)).token, link_in(send(omar)).token, make(link_in(send(omar)).user).token]
    cells = [cell for table in db.metadata.tables for row in rows(app, f'SELECT * FROM "{table}"') for cell in row]
    stored = b"\n".join(bytes(cell) if isinstance(cell, bytes | memoryview) else str(cell).encode() for cell in cells)
    file = database.sqlite_file()
    for path in (file, Path(f"{file}-wal")) if file else ():
        stored += path.read_bytes()
    assert b"jo@example.com" in stored
    for token in tokens:
        signature = token.split(".")[2]
        assert not [part for part in (token, signature, signature[:12], signature[-12:]) if part.encode() in stored]


def test_purge_erases_the_answer(app: Flask, omar: Actor) -> None:
    """The kept answer of an invitation goes with the user."""
    for name in ("jo", "al"):
        send(omar, name, email=f"{name}@example.com", first_name=f"Canary-{name}")
    gone = send(omar, "jo", email="jo@example.com", first_name="Canary-jo").user["id"]
    user_changes.delete_user(gone, actor=TERMINAL)
    assert user_purge.purge_users(clock.now() + timedelta(days=1), actor=TERMINAL) == 1
    left = str(
        [tuple(row) for table in ("users", "idempotency_records") for row in rows(app, f"SELECT * FROM {table}")]
    )
    assert "Canary-jo" not in left
    assert "Canary-al" in left
    assert len(rows(app, "SELECT 1 FROM idempotency_records")) == 1
