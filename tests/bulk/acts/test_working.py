"""The work on an act on many users: each by the rules of the single act, in short steps that a kill cannot halve."""

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask

from support.acts import (
    DEACTIVATE,
    DELETE,
    LINKS,
    REACTIVATE,
    RESTORE,
    add_crowd,
    at_pages,
    begin,
    events_of,
    fates,
    run,
    take_up,
    terminal_as,
)
from support.changes import TERMINAL
from support.databases import execute, rows
from support.people import UNKNOWN_ID, Cast, make_user
from users.bulk import leases
from users.bulk.acts import doing, jobs, working
from users.bulk.acts.kinds import Act, Wanted
from users.bulk.imports import batches
from users.bulk.imports.batches import Size
from users.bulk.leases import Lease
from users.errors import Unavailable
from users.roles import Role
from users.services import user_changes
from users.storage.models import BulkAct, db

MEMBER, NO_ROLE, ADMIN = (Wanted(Act.ROLE, role) for role in (Role.MEMBER, None, Role.ADMIN))


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of two users, however long they take."""
    in_steps_of(2, monkeypatch)


def in_steps_of(users: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each step have so many users."""
    for module, name in ((working, "FIRST"), (working, "FEWEST"), (batches, "MOST")):
        monkeypatch.setattr(module, name, users)


class Killed(BaseException):
    """The process ends here."""


def test_deactivating(app: Flask, cast: Cast) -> None:
    """Each user has a fate; those who are changed have the audit row of the single act, under the id of the act."""
    jo, stopped = make_user(app, "jo@example.com"), make_user(app, "stopped@example.com")
    execute(app, "UPDATE users SET is_active = false WHERE id = :id", id=stopped.id)
    with app.app_context():
        job = run(DEACTIVATE, [cast.sam, jo, stopped, cast.ada, UNKNOWN_ID], cast.ada)
    assert fates(app, job.id) == {
        UNKNOWN_ID: "USER_NOT_FOUND",
        cast.ada.id: "YOURSELF",
        cast.sam.id: "done",
        jo.id: "done",
        stopped.id: "unchanged",
    }
    assert (job.state, job.users_total, job.users_done, job.refused) == ("finished", 5, 5, 2)
    assert job.ended_at
    assert events_of(app, job.id) == [("user.deactivate", cast.sam.id), ("user.deactivate", jo.id)]
    active = rows(app, "SELECT email FROM users WHERE is_active ORDER BY email")
    assert [row.email for row in active] == ["ada@example.com", "omar@example.com", "vera@example.com"]


@pytest.mark.parametrize(
    ("wanted", "prepared", "fate", "action", "then"),
    [
        (DEACTIVATE, "is_active = true", "done", "user.deactivate", (False, None, False)),
        (DEACTIVATE, "is_active = false", "unchanged", None, (False, None, False)),
        (DEACTIVATE, "deleted_at = updated_at", "USER_NOT_FOUND", None, (True, None, True)),
        (REACTIVATE, "is_active = false", "done", "user.reactivate", (True, None, False)),
        (REACTIVATE, "is_active = true", "unchanged", None, (True, None, False)),
        (DELETE, "is_active = true", "done", "user.delete", (False, None, True)),
        (DELETE, "deleted_at = updated_at", "unchanged", None, (True, None, True)),
        (RESTORE, "deleted_at = updated_at", "done", "user.restore", (False, None, False)),
        (RESTORE, "is_active = true", "unchanged", None, (True, None, False)),
        (MEMBER, "is_active = true", "done", "user.update", (True, "role_member", False)),
        (MEMBER, "global_role_id = 'role_member'", "unchanged", None, (True, "role_member", False)),
        (ADMIN, "is_active = true", "done", "user.update", (True, "role_admin", False)),
        (NO_ROLE, "global_role_id = 'role_auditor'", "done", "user.update", (True, None, False)),
        (LINKS, "is_active = true", "done", "password_link.create", (True, None, False)),
        (LINKS, "is_active = false", "USER_DEACTIVATED", None, (False, None, False)),
    ],
    ids=str,
)
def test_each_act(app: Flask, cast: Cast, wanted: Wanted, prepared: str, fate: str, action: str, then: Any) -> None:
    execute(app, f"UPDATE users SET {prepared} WHERE id = :id", id=cast.sam.id)
    with app.app_context():
        job = run(wanted, [cast.sam], cast.ada)
    assert fates(app, job.id) == {cast.sam.id: fate}
    assert events_of(app, job.id) == ([(action, cast.sam.id)] if action else [])
    assert job.refused == (fate not in ("done", "unchanged"))
    (now,) = rows(app, "SELECT is_active, global_role_id, deleted_at FROM users WHERE id = :id", id=cast.sam.id)
    assert (bool(now.is_active), now.global_role_id, now.deleted_at is not None) == then


def test_holds_more(app: Flask, cast: Cast) -> None:
    """Nobody touches a user who holds more than they do, nor gives a role that they do not hold."""
    with app.app_context():
        job = run(DEACTIVATE, [cast.ada, cast.vera, cast.omar, cast.sam], cast.omar)
        assert list(fates(app, job.id).values()) == [
            "INSUFFICIENT_PERMISSIONS",
            "YOURSELF",
            *["INSUFFICIENT_PERMISSIONS"],
            "done",
        ]
        assert not MEMBER.is_for(at_pages(cast.omar))


def test_last_administrator(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all administrators one stays, also where the asker is none of them any more and all are chosen."""
    grace, alan = (make_user(app, f"{name}@example.com", Role.ADMIN) for name in ("grace", "alan"))
    monkeypatch.setattr("users.bulk.imports.actors.permissions_of", lambda _role: Role.ADMIN.permissions)
    with app.app_context():
        job = begin(DEACTIVATE, [cast.ada, grace, alan], cast.ada)
        execute(app, "UPDATE bulk_acts SET actor_user_id = :sam", sam=cast.sam.id)
        take_up(job.id)
    assert list(fates(app, job.id).values()) == ["done", "done", "LAST_ADMINISTRATOR"]
    assert events_of(app, job.id) == [("user.deactivate", cast.ada.id), ("user.deactivate", grace.id)]


def test_restoring_taken_addresses(app: Flask, cast: Cast) -> None:
    """A taken email refuses one user and no other, also where two deleted users had the same one."""
    with app.app_context():
        users = [make_user(app, email) for email in ("a@example.com", "b@example.com", "c@example.com")]
        for user in users:
            user_changes.delete_user(user.id, actor=TERMINAL)
        second = make_user(app, "c@example.com")
        user_changes.delete_user(second.id, actor=TERMINAL)
        make_user(app, "b@example.com")
        job = run(RESTORE, [*users, second], cast.ada)
    assert list(fates(app, job.id).values()) == ["done", "USER_ALREADY_EXISTS", "done", "USER_ALREADY_EXISTS"]
    assert events_of(app, job.id) == [("user.restore", users[0].id), ("user.restore", users[2].id)]
    assert job.refused == 2


def test_killed_in_the_middle(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed process has not committed is undone; the next one goes on, and each user is changed once."""
    in_steps_of(4, monkeypatch)
    real, calls = doing.do, []

    def die(*given: Any, **more: Any) -> Any:
        became = real(*given, **more)
        calls.append(became)
        if len(calls) == 3:
            raise Killed
        return became

    with app.app_context():
        crowd = add_crowd(18)
        job = begin(DEACTIVATE, crowd, cast.ada)
        monkeypatch.setattr(doing, "do", die)
        with pytest.raises(Killed):
            take_up(job.id)
        half = list(fates(app, job.id).values())
        assert half == ["done"] * 8 + [None] * 10
        assert [target for _, target in events_of(app, job.id)] == crowd[:8]
        assert rows(app, "SELECT count(*) FROM users WHERE NOT is_active") == [(8,)]
        execute(app, "UPDATE bulk_acts SET lease_until = created_at")
        take_up(job.id)
        now = jobs.find(job.id, at_pages(cast.ada))
    assert list(fates(app, job.id).values()) == ["done"] * 18
    assert [target for _, target in events_of(app, job.id)] == crowd
    assert (now.state, now.users_done, now.refused, now.crashes) == ("finished", 18, 0, 0)


def test_crashes(app: Flask, cast: Cast) -> None:
    """After three crashes at one step the act has failed; what was done stays."""
    with app.app_context():
        job = begin(DEACTIVATE, [cast.sam], cast.ada)
        for _ in range(leases.MOST_CRASHES):
            assert leases.take(BulkAct, job.id)
            execute(app, "UPDATE bulk_acts SET lease_until = created_at")
        take_up(job.id)
        now = jobs.find(job.id, at_pages(cast.ada))
    assert (now.state, now.error and now.error["code"]) == ("failed", "INTERNAL_SERVER_ERROR")
    assert fates(app, job.id) == {cast.sam.id: None}


@pytest.mark.parametrize(
    "loss",
    [
        "global_role_id = 'role_auditor'",
        "global_role_id = NULL",
        "is_active = false",
        "deleted_at = updated_at",
    ],
)
def test_permissions_anew(app: Flask, cast: Cast, patient: None, loss: str) -> None:
    """Who may not do it any more stops the act: it fails, with an audit row of the refusal."""
    stopped: list[bool] = []

    def lose() -> bool:
        if stopped:
            execute(app, f"UPDATE users SET {loss} WHERE id = :id", id=cast.ada.id)
        stopped.append(True)
        return False

    with app.app_context():
        crowd = add_crowd(5)
        job = begin(DEACTIVATE, crowd, cast.ada)
        take_up(job.id, should_stop=lose)
        now = db.session.get_one(BulkAct, job.id)
    assert (now.state, now.users_done, now.holder) == ("failed", 2, None)
    assert now.error
    assert now.error["code"] == "INSUFFICIENT_PERMISSIONS"
    assert list(fates(app, job.id).values()) == ["done"] * 2 + [None] * 3
    assert events_of(app, job.id)[2:] == [("request.refuse", None)]


def test_cancel(app: Flask, cast: Cast, patient: None) -> None:
    """A cancelled act keeps what was done; the step that runs at that moment is undone."""
    asks: list[bool] = []

    def cancel() -> bool:
        if asks:
            jobs.cancel(job.id, terminal_as(cast.ada))
        asks.append(True)
        return False

    with app.app_context():
        job = begin(DEACTIVATE, add_crowd(5), cast.ada)
        take_up(job.id, should_stop=cancel)
        now = jobs.find(job.id, at_pages(cast.ada))
    assert (now.state, now.users_done, now.holder) == ("cancelled", 2, None)
    assert list(fates(app, job.id).values()) == ["done"] * 2 + [None] * 3
    assert len(events_of(app, job.id)) == 2


def test_database_away(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is tried again while the database is busy or away, for some seconds."""
    waits: list[float] = []
    monkeypatch.setattr(working, "time", SimpleNamespace(monotonic=time.monotonic, sleep=waits.append))
    real, tries = working._end_step, []

    def busy(*given: Any) -> bool:
        tries.append(1)
        if len(tries) < 3:
            raise Unavailable("busy")
        return real(*given)

    with app.app_context():
        job = begin(DEACTIVATE, [cast.sam], cast.ada)
        monkeypatch.setattr(working, "_end_step", busy)
        take_up(job.id)
    assert fates(app, job.id) == {cast.sam.id: "done"}
    assert events_of(app, job.id) == [("user.deactivate", cast.sam.id)]
    assert waits == [0.1, 0.2]


def test_a_step_whose_commit_ends_late(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch, patient: None) -> None:
    """A standby answers a COMMIT after the work has given it up: the next step goes on after it."""
    users = [make_user(app, f"jo{number}@example.com") for number in range(4)]
    renew, written = leases.renew, threading.Event()

    def renew_and_wait(*args: Any, **values: Any) -> None:
        renew(*args, **values)
        if not written.is_set():
            written.set()
            time.sleep(0.3)

    monkeypatch.setattr(leases, "renew", renew_and_wait)

    def commit_late(lease: Lease) -> None:
        with app.app_context():
            working._step(lease, Size(2, fewest=2), alone=False)

    with app.app_context():
        job = begin(DEACTIVATE, users, cast.ada)
        lease = leases.take(BulkAct, job.id)
        assert lease
        thread = threading.Thread(target=commit_late, args=(lease,))
        thread.start()
        assert written.wait(60)
        assert working._step(lease, Size(2, fewest=2), alone=False) is False
        thread.join()
    assert set(fates(app, job.id).values()) == {"done"}
    (ended,) = rows(app, "SELECT state, users_done FROM bulk_acts")
    assert tuple(ended) == ("finished", 4)
