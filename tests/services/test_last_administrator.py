"""The last active administrator stays, also when several acts run in parallel."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from support.changes import ACTS, TERMINAL, update
from support.databases import execute, rows
from support.people import Cast, as_actor, make_user
from users.actors import Actor, ActorKind
from users.errors import LastAdministrator
from users.roles import ALL_PERMISSIONS, Role
from users.services import user_changes, user_queries
from users.services.changes import each, outcomes
from users.services.changes.outcomes import Outcome
from users.storage.models import User

LEAVE: dict[str, Callable[[User, Actor], Any]] = {
    "deactivate": ACTS["deactivate"],
    "delete": ACTS["delete"],
    "demote": lambda user, actor: update(user, global_role_id="role_member", actor=actor),
    "strip": lambda user, actor: update(user, global_role_id=None, first_name="Nobody", actor=actor),
    "stop and demote": lambda user, actor: update(user, global_role_id=None, is_active=False, actor=actor),
}


@pytest.mark.parametrize("leave", LEAVE)
def test_last_administrator(app: Flask, cast: Cast, leave: str) -> None:
    actor, do = as_actor(app, cast.ada), LEAVE[leave]
    stopped = make_user(app, "stopped@example.com", Role.ADMIN)
    with app.app_context():
        user_changes.deactivate_user(stopped.id, actor=actor)
        with pytest.raises(LastAdministrator):
            do(cast.ada, actor)
        assert user_queries.get_user(cast.ada.id).as_profile() == cast.ada.as_profile()
        do(stopped, actor)
        do(cast.sam, actor)
        assert update(cast.ada, global_role_id="role_admin", is_active=True, first_name="A.").first_name == "A."
        grace = make_user(app, "grace@example.com", Role.ADMIN)
        do(cast.ada, actor)
        with pytest.raises(LastAdministrator):
            do(grace, TERMINAL)


@pytest.mark.parametrize("leave", ["deactivate", "delete", "demote"])
def test_last_two_administrators(app: Flask, cast: Cast, leave: str) -> None:
    grace = make_user(app, "grace@example.com", Role.ADMIN)
    for _ in range(5):
        execute(app, "UPDATE users SET is_active = true, deleted_at = NULL")
        execute(app, "UPDATE users SET global_role_id = 'role_admin' WHERE id IN (:a, :b)", a=cast.ada.id, b=grace.id)
        start = threading.Barrier(2)
        outcomes: list[str] = []

        def put_out(user: User, start: threading.Barrier = start, outcomes: list[str] = outcomes) -> None:
            start.wait()
            try:
                with app.app_context():
                    LEAVE[leave](user, Actor(ActorKind.TERMINAL, ALL_PERMISSIONS))
                outcomes.append("left")
            except LastAdministrator:
                outcomes.append("stayed")

        threads = [threading.Thread(target=put_out, args=[user]) for user in (cast.ada, grace)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["left", "stayed"]


def test_administrators_lock(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """An act that read the administrators before another act has ended could miss the last one."""
    first_is_in, go_on = threading.Event(), threading.Event()
    of_each = outcomes.of_each

    def pause_first(*given: Any, **more: Any) -> Outcome:
        outcome = of_each(*given, **more)
        if not first_is_in.is_set():
            first_is_in.set()
            assert go_on.wait(60)
        return outcome

    monkeypatch.setattr(each, "of_each", pause_first)
    grace = make_user(app, "grace@example.com", Role.ADMIN)

    def stop(user: User) -> None:
        with app.app_context():
            user_changes.deactivate_user(user.id, actor=TERMINAL)

    first, second = (threading.Thread(target=stop, args=[user]) for user in (cast.sam, grace))
    first.start()
    assert first_is_in.wait(60)
    second.start()
    second.join(0.3)
    assert second.is_alive(), "it waits, though it changes another user"
    go_on.set()
    first.join()
    second.join()
    assert rows(app, "SELECT count(*) FROM users WHERE NOT is_active") == [(2,)]
