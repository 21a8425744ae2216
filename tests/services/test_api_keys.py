"""API keys: created, revoked and rolled, never wider than the actor."""

from datetime import timedelta

import pytest
from flask import Flask

from support.databases import rows
from support.people import Cast, as_actor, make_key
from users import clock, ids
from users.actors import Actor, ActorKind, terminal
from users.audit import trail
from users.audit.trail import Action
from users.errors import Denied, KeyNotFound
from users.form_errors import KeyMadeAlready
from users.roles import Permission
from users.rules.validation import NewKey
from users.services import api_keys, key_queries
from users.storage import database


def test_managing_keys(app: Flask) -> None:
    narrow = Actor(ActorKind.TERMINAL, frozenset({Permission.KEYS_MANAGE, Permission.USERS_READ}))
    with app.app_context():
        wide = NewKey("key", frozenset({Permission.USERS_READ, Permission.USERS_CREATE}))
        with pytest.raises(Denied):
            api_keys.create_key(wide, owner=None, lifetime=None, actor=narrow)
        same = NewKey("key", frozenset({Permission.USERS_READ}))
        assert api_keys.create_key(same, owner=None, lifetime=None, actor=narrow).key.scopes == ["users:read"]


@pytest.mark.parametrize("person", ["ada", "omar", "vera", "sam"])
def test_no_wider_key(app: Flask, cast: Cast, person: str) -> None:
    actor = as_actor(app, getattr(cast, person))
    with app.app_context():
        for scope in Permission:
            act = NewKey("key", frozenset({scope}))
            if {Permission.KEYS_MANAGE, scope} <= actor.permissions:
                assert api_keys.create_key(act, owner=None, lifetime=None, actor=actor).key.scopes == [scope]
            else:
                with pytest.raises(Denied):
                    api_keys.create_key(act, owner=None, lifetime=None, actor=actor)


def test_revoked_twice(app: Flask, cast: Cast) -> None:
    ada, omar = as_actor(app, cast.ada), as_actor(app, cast.omar)
    make_key(app, Permission.USERS_READ)
    with app.app_context():
        key = list(api_keys.list_keys())[-1]
        first, second = (api_keys.revoke_key(key.id, actor=ada) for _ in range(2))
        assert first.deactivated_at == second.deactivated_at is not None
        with pytest.raises(KeyNotFound):
            api_keys.revoke_key("akid_1", actor=ada)
        with pytest.raises(Denied):
            api_keys.revoke_key(key.id, actor=omar)
    assert len(rows(app, "SELECT id FROM audit_events WHERE action = 'key.revoke'")) == 1


def test_roll_needs_scopes(app: Flask, cast: Cast) -> None:
    make_key(app, Permission.USERS_READ, Permission.USERS_CREATE)
    same = Actor(
        ActorKind.TERMINAL, frozenset({Permission.KEYS_MANAGE, Permission.USERS_READ, Permission.USERS_CREATE})
    )

    def roll(key_id: str, permissions: frozenset[Permission], new_id: str = "akid_2") -> api_keys.IssuedKey:
        actor, day = Actor(ActorKind.TERMINAL, permissions), timedelta(days=1)
        return api_keys.roll_key(key_id, ends_in=day, new_id=new_id, lifetime=day, actor=actor)

    with app.app_context():
        (key,) = api_keys.list_keys()
        for missing in same.permissions:
            with pytest.raises(Denied):
                roll(key.id, same.permissions - {missing})
        with pytest.raises(KeyNotFound):
            roll("akid_1", same.permissions)
        issued = roll(key.id, same.permissions)
        assert (issued.key.name, issued.key.scopes, issued.key.owner_id) == (key.name, key.scopes, None)
        assert issued.key.expires_at == issued.key.created_at + timedelta(days=1)
        with pytest.raises(KeyMadeAlready):
            roll(key.id, same.permissions)
        assert len(list(api_keys.list_keys())) == 2


def test_roll_among_many_events(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refusals about a key, however many, hide no roll."""
    monkeypatch.setattr(key_queries, "_EVENTS", 4)
    make_key(app, Permission.USERS_READ)
    actor, new_id = terminal(ids.new_request_id()), ids.new_id("akid")
    with app.app_context():
        (old,) = api_keys.list_keys()
        with database.transaction() as session:
            for _ in range(5):
                trail.record(session, Action.REQUEST_REFUSE, old.id, actor, clock.now(), ["keys:manage"])
        api_keys.roll_key(old.id, ends_in=timedelta(), new_id=new_id, lifetime=None, actor=actor)
        found = key_queries.rolls_of([old])
    assert (found.successors[old.id].id, found.predecessors) == (new_id, {})
