"""Who may make and end a password link, how long it works, and what its use does."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from support.changes import TERMINAL, events, update
from support.databases import execute, rows
from support.password_links import NEW, OTHER, hash_of, invite, make, matches, use
from support.people import PASSWORD, UNKNOWN_ID, Cast, as_actor
from users import clock
from users.actors import Actor, ActorKind
from users.auth import signin
from users.auth.known_devices import Device
from users.errors import Conflict, Denied, Invalid, Overloaded, RateLimitExceeded, UserDeactivated, UserNotFound
from users.form_errors import PasswordLinkEnded
from users.passwords.hash_queue import Share
from users.passwords.hashing import Hasher, WrongPassword
from users.roles import Permission
from users.services import user_changes
from users.services.links import password_links
from users.storage.models import User

DAY = timedelta(days=1)
BROWSER = Device("")


@pytest.fixture(autouse=True)
def _inside(app: Flask) -> Any:
    with app.app_context():
        yield


def trail(app: Flask, user: User) -> list[tuple[Any, ...]]:
    """Return the audit rows about the user, without those of the creation."""
    what = "SELECT action, outcome, actor_kind, actor_user_id, fields FROM audit_events WHERE target_id = :id"
    found = rows(app, f"{what} AND action <> 'user.create' ORDER BY id", id=user.id)
    return [(*row[:4], str(row[4]).replace('"', "'")) for row in found]


@pytest.mark.one_database
def test_lifetimes(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """7 days for a user without a password, 24 hours for one with, or what is asked for."""
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now)
    jo = invite()
    short = timedelta(seconds=300)
    found = [jo, invite("al@example.com", expires_in=300), make(jo.user, lifetime=short), make(jo.user)]
    found += [make(cast.sam), make(cast.omar, lifetime=30 * DAY)]
    assert [link.ends_at - now for link in found] == [7 * DAY, short, short, 7 * DAY, DAY, 30 * DAY]
    use(found[3])
    assert make(jo.user).ends_at - now == DAY


def test_made_and_used(app: Flask, cast: Cast) -> None:
    jo = invite(first_name="Jo").user
    assert (jo.has_password, jo.is_active, hash_of(app, jo), jo.last_verified) == (False, True, "", None)
    link = make(jo)
    password_links.revoke(jo.id, actor=TERMINAL)
    password_links.revoke(jo.id, actor=TERMINAL)  # there is none: nothing to record
    with pytest.raises(PasswordLinkEnded):
        use(link)
    etag = make(jo).user.etag
    assert etag == jo.etag  # the profile is the same
    session = as_actor(app, cast.omar)
    visitor = Actor(ActorKind.VISITOR, frozenset(), ip_address="192.0.2.1", request_id="req_12345678")
    assert password_links.use(make(jo).token, NEW, actor=visitor).last_verified is None
    assert matches(hash_of(app, jo), NEW)
    last = password_links.make(jo.id, actor=session)
    made = ("password_link.create", "ok", "terminal", None, "[]")
    assert trail(app, jo) == [
        made,
        made,
        ("password_link.revoke", "ok", "terminal", None, "[]"),
        made,
        made,
        ("user.set_password", "ok", "password_link", None, "['password']"),
        ("password_link.create", "ok", "key", cast.omar.id, "[]"),
    ]
    kept = str([tuple(row) for row in rows(app, "SELECT * FROM audit_events")])
    assert "192.0.2.1" in kept
    for one in (link, last):
        assert one.token not in kept
        assert one.token not in repr(one) + str(one)
        assert one.token.split(".")[2] not in repr(vars(one.user))


def test_use_gives_all_back(app: Flask, cast: Cast) -> None:
    """It ends the sessions, forgets the known networks, unlocks the account and ends must-change."""
    update(cast.sam, password_change_required=True)
    for user in (cast.sam, cast.vera):
        signin.sign_in(user.email, PASSWORD, device=BROWSER, actor=TERMINAL)
        insert = "INSERT INTO known_networks (user_id, network, last_used_at) VALUES (:id, :network, :at)"
        execute(app, insert, id=user.id, network=b"1", at=clock.now())
        for _ in range(10):
            with pytest.raises(WrongPassword):
                signin.sign_in(user.email, OTHER, device=BROWSER, actor=TERMINAL)
        with pytest.raises(RateLimitExceeded):
            signin.sign_in(user.email, PASSWORD, device=BROWSER, actor=TERMINAL)
    assert not use(make(cast.sam)).password_change_required
    for table in ("admin_sessions", "known_networks"):
        assert [row.user_id for row in rows(app, f"SELECT user_id FROM {table}")] == [cast.vera.id]
    assert signin.sign_in(cast.sam.email, NEW, device=BROWSER, actor=TERMINAL).user.id == cast.sam.id
    with pytest.raises(RateLimitExceeded):
        signin.sign_in(cast.vera.email, PASSWORD, device=BROWSER, actor=TERMINAL)
    assert trail(app, cast.sam)[-2][0::4] == ("user.set_password", "['password', 'password_change_required']")


@pytest.mark.one_database
def test_present_password(app: Flask, cast: Cast) -> None:
    """Who must choose a new password does not keep the old one by a link; others may type it again."""
    assert use(make(cast.omar), PASSWORD)
    update(cast.sam, password_change_required=True)
    link = make(cast.sam)
    with pytest.raises(Invalid) as refused:
        use(link, PASSWORD)
    assert [error.code for error in refused.value.errors] == ["PASSWORD_UNCHANGED"]
    assert use(link).id == cast.sam.id  # it is still open
    jo = invite().user
    update(jo, password_change_required=True)
    assert not use(make(jo)).password_change_required


ACTS: dict[str, Callable[[str, Actor], Any]] = {
    "make": lambda user_id, actor: password_links.make(user_id, actor=actor),
    "revoke": lambda user_id, actor: password_links.revoke(user_id, actor=actor),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=list(ACTS))
def test_permissions(app: Flask, cast: Cast, act: Callable[[str, Actor], Any]) -> None:
    """A link takes `users:update` and all that the user holds."""
    link = make(cast.ada)
    omar, ada, vera, sam = (as_actor(app, user) for user in (cast.omar, cast.ada, cast.vera, cast.sam))
    creator = omar.with_permissions(frozenset({Permission.USERS_CREATE}))
    for actor, user in ((omar, cast.ada), (omar, cast.vera), (vera, cast.sam), (sam, cast.sam)):
        with pytest.raises(Denied):
            act(user.id, actor)
    with pytest.raises(Denied):
        act(cast.sam.id, Actor(ActorKind.VISITOR, creator.permissions))
    execute(app, "UPDATE users SET global_role_id = 'role_of_tomorrow' WHERE id = :id", id=cast.vera.id)
    with pytest.raises(Denied):
        act(cast.vera.id, omar)
    for user_id in (UNKNOWN_ID, "\0", ""):
        with pytest.raises(UserNotFound):
            act(user_id, ada)
    assert password_links.find_user(link.token).id == cast.ada.id  # nothing has ended it
    for actor, user in ((omar, cast.sam), (omar, cast.omar), (ada, cast.vera), (ada, cast.ada)):
        act(user.id, actor)


def test_nobody_to_link(app: Flask, cast: Cast) -> None:
    """A user who is deactivated or deleted gets no link, and keeps none."""
    link = make(cast.sam)
    user_changes.deactivate_user(cast.sam.id, actor=TERMINAL)
    with pytest.raises(UserDeactivated):
        make(cast.sam)
    assert password_links.revoke(cast.sam.id, actor=TERMINAL).password_link_ends_at is None
    user_changes.delete_user(cast.sam.id, actor=TERMINAL)
    for act in ACTS.values():
        with pytest.raises(UserNotFound):
            act(cast.sam.id, TERMINAL)
    with pytest.raises(PasswordLinkEnded):
        use(link)
    assert [action for action, _ in events(app, cast.sam)] == ["password_link.create", "user.deactivate", "user.delete"]


def test_email_in_use(app: Flask, cast: Cast) -> None:
    with pytest.raises(Conflict):
        invite("SAM@example.com")
    assert rows(app, "SELECT 1 FROM audit_events WHERE action = 'password_link.create'") == []


@pytest.mark.one_database
def test_no_password_is_the_present_one(app: Flask) -> None:
    """Of a user who has none."""
    jo = invite().user
    for given in ("", PASSWORD):
        with pytest.raises(WrongPassword):
            signin.change_password(jo, given, NEW, device=BROWSER, actor=as_actor(app, jo))
    assert hash_of(app, jo) == ""


@pytest.mark.one_database
def test_share_of_the_hash_queue(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link can be used while a flood of wrong sign-ins fills its share of the queue."""
    update(cast.sam, password_change_required=True)
    link, place = make(cast.sam), Hasher.place

    def place_beside_a_flood(one: Hasher, share: Share) -> Any:
        if share == Share.TYPED:
            raise Overloaded
        return place(one, share)

    monkeypatch.setattr(Hasher, "place", place_beside_a_flood)
    assert use(link).has_password
