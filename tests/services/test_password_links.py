"""What ends a password link, before a person uses it and while they do, and what leaves it open."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from flask import Flask

from app import create_app
from support.application import CHEAP, SECRET_KEY, dispose
from support.changes import TERMINAL, update
from support.databases import execute, rows
from support.password_links import ENDINGS, OLD_CODE, OTHER, has_ended, hash_of, invite, make, matches, use
from support.people import PASSWORD, UNKNOWN_ID, Cast, make_user
from users import clock
from users.actors import Actor
from users.auth import hasher, signin
from users.auth.known_devices import Device
from users.form_errors import PasswordLinkEnded
from users.passwords import argon2id
from users.services import user_changes, user_queries
from users.services.links import password_links
from users.storage.models import User

MICROSECOND = timedelta(microseconds=1)


LEFT_OPEN: dict[str, Callable[[User], object]] = {
    "renamed": lambda user: update(user, first_name="Jo"),
    "another spelling": lambda user: update(user, email=user.email.upper()),
    "verified": lambda user: user_changes.verify_user(user.id, actor=TERMINAL),
    "unlocked": lambda user: user_changes.unlock_user(user.id, actor=TERMINAL),
    "must change": lambda user: update(user, password_change_required=True),
    "the same values": lambda user: update(user, email=user.email, global_role_id=None, is_active=True),
    "signed in": lambda user: signin.sign_in(user.email, PASSWORD, device=Device(""), actor=TERMINAL),
}


@pytest.fixture(autouse=True)
def _inside(app: Flask) -> Any:
    with app.app_context():
        yield


def test_endings(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that has ended works no more and costs no hash, and the end that the user shows is gone with it."""
    for number, (name, end) in enumerate(ENDINGS.items()):
        user = make_user(app, f"{number}@example.com")
        link = make(user)
        assert password_links.find_user(link.token).id == user.id
        end(app, user, link)
        before = hash_of(app, user)
        with monkeypatch.context() as patch:
            patch.setattr(argon2id, "hash_of", lambda *_: pytest.fail("it computes a hash"))
            assert has_ended(link), name
        assert hash_of(app, user) == before
        ((ends_at,),) = rows(app, "SELECT password_link_ends_at FROM users WHERE id = :id", id=user.id)
        assert bool(ends_at) == (name == "replaced"), name


def during_the_hash(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let `act` happen while the next new password is hashed."""
    make_hash = hasher.hash_password

    def act_and_hash(password: str, actor: Actor) -> str:
        monkeypatch.setattr(hasher, "hash_password", make_hash)
        act()
        return make_hash(password, actor)

    monkeypatch.setattr(hasher, "hash_password", act_and_hash)


def test_endings_during_the_hash(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that ends while the new password is hashed sets nothing."""
    for number, (name, end) in enumerate(ENDINGS.items()):
        user = make_user(app, f"{number}@example.com")
        link = make(user)
        during_the_hash(monkeypatch, partial(end, app, user, link))
        with pytest.raises(PasswordLinkEnded):
            use(link)
        uses = "SELECT 1 FROM audit_events WHERE actor_kind = 'password_link' AND target_id = :id"
        assert len(rows(app, uses, id=user.id)) == (name == "used"), name
        other = {"used": OTHER, "password set": OTHER, "password changed": OTHER, "password chosen": OTHER}
        assert matches(hash_of(app, user), other.get(name, PASSWORD)), name


@pytest.mark.parametrize("again", list(LEFT_OPEN))
@pytest.mark.one_database
def test_acts_that_leave_it_open(app: Flask, cast: Cast, again: str) -> None:
    link = make(cast.sam)
    LEFT_OPEN[again](cast.sam)
    assert use(link).id == cast.sam.id


def test_end_to_the_microsecond(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    link = invite()
    monkeypatch.setattr(clock, "now", lambda: link.ends_at - MICROSECOND)
    assert password_links.open_until(password_links.find_user(link.token)) == link.ends_at
    monkeypatch.setattr(clock, "now", lambda: link.ends_at)
    assert has_ended(link)
    assert password_links.open_until(link.user) is None
    monkeypatch.setattr(clock, "now", lambda: link.ends_at - MICROSECOND)
    assert use(link).has_password


@pytest.mark.one_database
def test_end_of_time_during_the_hash(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    link = invite()
    during_the_hash(monkeypatch, lambda: monkeypatch.setattr(clock, "now", lambda: link.ends_at))
    with pytest.raises(PasswordLinkEnded):
        use(link)
    assert hash_of(app, link.user) == ""


def test_links_of_one_microsecond(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with a clock that stands still, no link is the text of one before it."""
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now)
    links = [invite()]
    links += [make(links[0].user, lifetime=password_links.FIRST_LIFETIME) for _ in range(4)]
    assert len({link.token for link in links}) == 5
    assert all(has_ended(link) for link in links[:-1])
    assert use(links[-1]).id == links[0].user.id


@pytest.mark.one_database
def test_clock_set_back(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link made after the clock was set back ends when it says, not when the one before would have."""
    first = make(cast.sam)
    back = clock.now() - timedelta(hours=1)
    monkeypatch.setattr(clock, "now", lambda: back)
    second = make(cast.sam)
    assert second.ends_at == back + password_links.LIFETIME
    assert has_ended(first)
    assert use(second)


def test_new_secret_key(app: Flask, cast: Cast, database_url: str) -> None:
    """A link goes on while its key is a fallback and ends with it. A new one is signed by the new key."""
    first, secret = make(cast.sam), "0123456789abcdef" * 4
    given = {**CHEAP, "DATABASE_URL": database_url, "TESTING": True, "SECRET_KEY": secret}
    for fallbacks, works in (("", False), (SECRET_KEY, True)):
        rotated = create_app({**given, "SECRET_KEY_FALLBACKS": fallbacks})
        with rotated.app_context():
            if works:
                assert password_links.find_user(first.token).id == cast.sam.id
                second = make(cast.sam)
            else:
                assert has_ended(first)
        dispose(rotated)
    assert has_ended(second)  # here the new key is unknown
    assert has_ended(first)


def test_new_parameters_of_the_hash(app: Flask, cast: Cast, database_url: str) -> None:
    """A sign-in that replaces the stored hash ends the link, which is signed over it, and no open link is shown."""
    link = make(cast.sam)
    stronger = create_app({**CHEAP, "DATABASE_URL": database_url, "ENROL_PASSWORD_HASH": "m=16,t=1,p=1"})
    with stronger.app_context():
        user = signin.sign_in(cast.sam.email, PASSWORD, device=Device(""), actor=TERMINAL).user
    dispose(stronger)
    assert has_ended(link)
    assert password_links.open_until(user) is None


@pytest.mark.parametrize("change", OLD_CODE.values(), ids=list(OLD_CODE))
def test_change_by_older_code(app: Flask, cast: Cast, change: str) -> None:
    """Beside an older version, which leaves the end in its column, no link works any more than beside this one."""
    link = make(cast.sam)
    execute(app, f"UPDATE users SET {change} WHERE id = :id", id=cast.sam.id)
    assert has_ended(link)


def test_user_of_older_code(app: Flask) -> None:
    """An older version inserts neither column: the user has a password, no link and need not change it."""
    columns = "id, email, email_key, password_hash, is_active, created_at, updated_at"
    values = ":id, 'al@example.com', 'al@example.com', 'a hash', true, :now, :now"
    execute(app, f"INSERT INTO users ({columns}) VALUES ({values})", id=UNKNOWN_ID, now=clock.now())
    user = user_queries.get_user(UNKNOWN_ID)
    assert (user.has_password, user.password_change_required, password_links.open_until(user)) == (True, False, None)
    assert use(make(user)).has_password
