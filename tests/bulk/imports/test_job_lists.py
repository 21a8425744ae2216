"""The list of imports: each actor's own, and those of uploaders who held no more than the actor does."""

import itertools

import pytest
from flask import Flask
from sqlalchemy import event

from support.imports import add_import
from support.people import Cast, as_actor
from users import ids
from users.actors import Actor, ActorKind, terminal
from users.bulk.imports import jobs
from users.roles import Permission
from users.storage.models import db

P = Permission
HELD = (frozenset[Permission](), frozenset({P.USERS_IMPORT}), frozenset({P.USERS_IMPORT, P.USERS_READ}), frozenset(P))


def test_the_list_has_what_can_be_found(app: Flask, cast: Cast) -> None:
    """For each kind of actor, with more and with fewer permissions."""
    key, other = as_actor(app, cast.ada), as_actor(app, cast.ada)
    session = Actor(ActorKind.SESSION, frozenset(), user_id=cast.ada.id)
    actors = (key, other, session, Actor(ActorKind.SESSION, frozenset(), user_id=cast.omar.id), terminal("req_1"))
    for by, held in itertools.product(actors, (*HELD, ("users:of_another_version",))):
        facts = {"actor_kind": by.kind, "actor_user_id": by.user_id, "actor_key_id": by.key_id}
        add_import(app, ids.new_id("imp"), "finished", **facts, permissions=sorted(held))
    with app.app_context():
        every = {job.id: job for job in jobs.newest(terminal("req_1"), before=None, limit=1000)}
        assert len(every) == len(actors) * len(HELD) + 1
        for actor, held in itertools.product(actors, HELD):
            now = actor.with_permissions(held)
            listed = {job.id for job in jobs.newest(now, before=None, limit=1000)}
            assert listed >= {one for one in every if jobs._may_see(every[one], now)}
            assert all(jobs.find(one, now) for one in listed)


@pytest.mark.parametrize("held", HELD, ids=len)
def test_one_read_finds_a_page(
    app: Flask, cast: Cast, held: frozenset[Permission], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database leaves out what the actor may not see. To read it all took 8 s for 40,000 imports."""
    monkeypatch.setattr(jobs, "_AT_ONCE", 3)
    asked = as_actor(app, cast.omar).with_permissions(held)
    for _ in range(10):
        add_import(app, ids.new_id("imp"), "finished", actor_user_id=cast.ada.id, permissions=sorted(Permission))
    reads: list[str] = []
    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", lambda *given: reads.append(given[2]))
        found = jobs.newest(asked, before=None, limit=2)
    assert len(found) == (2 if held == HELD[-1] else 0)
    assert len(reads) == 1
