"""Acts on many users as jobs: who sees, starts and cancels them, what they leave, and what the question says."""

from dataclasses import replace
from datetime import timedelta

import pytest
from flask import Flask

from support.acts import (
    DEACTIVATE,
    DELETE,
    LINKS,
    REACTIVATE,
    RESTORE,
    at_pages,
    begin,
    fates,
    run,
    take_up,
    terminal_as,
)
from support.changes import TERMINAL
from support.databases import execute, rows
from support.people import UNKNOWN_ID, Cast, make_user
from users import clock
from users.actors import Actor
from users.bulk import runner
from users.bulk.acts import cleaning, jobs, prospects, reports
from users.bulk.acts.jobs import ActNotFound
from users.bulk.acts.kinds import Act, Wanted
from users.bulk.acts.reports import LinksTaken
from users.errors import Denied
from users.form_errors import ConfirmationNeeded
from users.roles import Permission, Role
from users.services import user_changes
from users.services.links import password_links
from users.storage.models import BulkAct, User

ROLE = Wanted(Act.ROLE, Role.MEMBER)


def asked(wanted: Wanted, users: list[User], asker: User) -> BulkAct:
    """Ask for the act and do not start it."""
    return jobs.create(wanted, [user.id for user in users], way_back="q=a", actor=terminal_as(asker))


def foreseen(job: BulkAct, actor: Actor) -> tuple[int, dict[str, int]]:
    """Return how many are touched, and how many of each reason are not."""
    found = prospects.foresee(job, actor)
    return found.touched, {one.fate: one.number for one in found.untouched}


def test_waits_for_its_start(app: Flask, cast: Cast) -> None:
    with app.app_context():
        job = asked(DEACTIVATE, [cast.sam, cast.vera, cast.sam], cast.ada)
        assert (job.state, job.users_total, job.options["list"]) == ("asked", 2, "q=a")
        assert runner.due() == []
        jobs.start(job.id, terminal_as(cast.ada))
        assert runner.due() == ["acts"]
        runner.work_here("acts")
        assert runner.due() == []
        again = jobs.start(job.id, terminal_as(cast.ada))
    assert again.state == "finished"
    assert list(fates(app, job.id).values()) == ["done", "done"]


def test_who_sees_it(app: Flask, cast: Cast) -> None:
    """Who asked for it, and who holds all that they held; who asked for it starts it, with a fresh proof."""
    grace = make_user(app, "grace@example.com", Role.ADMIN)
    nosy = Actor(
        at_pages(cast.vera).kind, frozenset({Permission.USERS_READ, Permission.USERS_UPDATE}), user_id=cast.vera.id
    )
    with app.app_context():
        job = asked(DEACTIVATE, [cast.sam], cast.omar)
        for actor in (nosy, at_pages(cast.vera)):
            with pytest.raises(ActNotFound):
                jobs.find(job.id, actor)
            with pytest.raises(ActNotFound):
                jobs.cancel(job.id, actor)
        assert jobs.find(job.id, at_pages(grace)).id == job.id
        with pytest.raises(ActNotFound):
            jobs.start(job.id, terminal_as(grace))
        with pytest.raises(ConfirmationNeeded):
            jobs.start(job.id, replace(terminal_as(cast.omar), needs_confirmation=True))
        with pytest.raises(Denied):
            asked(DELETE, [cast.sam], cast.omar)
        assert jobs.newest(at_pages(grace)) == []
        jobs.start(job.id, terminal_as(cast.omar))
        assert [one.id for one in jobs.newest(at_pages(grace))] == [job.id]
        assert jobs.newest(nosy) == []
        for text in ("act_", "act_\0", UNKNOWN_ID, "act_" + "0" * 32):
            with pytest.raises(ActNotFound):
                jobs.find(text, at_pages(grace))


def test_what_waits_is_forgotten(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that one user asked for and did not start, ten are kept, for an hour."""
    monkeypatch.setattr(jobs, "MOST_ASKED", 2)
    with app.app_context():
        first, second, third = (asked(DEACTIVATE, [cast.sam], cast.ada) for _ in range(3))
        with pytest.raises(ActNotFound):
            jobs.find(first.id, at_pages(cast.ada))
        assert jobs.find(second.id, at_pages(cast.ada)).state == "asked"
        execute(app, "UPDATE bulk_acts SET expires_at = created_at WHERE id = :id", id=second.id)
        with pytest.raises(ActNotFound):
            jobs.find(second.id, at_pages(cast.ada))
        cleaning.clean()
    assert [row.id for row in rows(app, "SELECT id FROM bulk_acts")] == [third.id]
    assert rows(app, "SELECT count(*) FROM bulk_act_users") == [(1,)]


def test_the_report_goes(app: Flask, cast: Cast) -> None:
    """After a week the report is gone; the act stays in the list."""
    with app.app_context():
        old, new = (run(wanted, [cast.sam, cast.vera], cast.ada) for wanted in (DEACTIVATE, REACTIVATE))
        week_ago = clock.now() - jobs.KEPT
        execute(app, "UPDATE bulk_acts SET ended_at = :at WHERE id = :id", at=week_ago, id=old.id)
        cleaning.clean()
        assert reports.read(old) == ([], False)
        assert reports.numbers(new) == {"done": 2}
        assert [one.id for one in jobs.newest(at_pages(cast.ada))] == [new.id, old.id]


def test_report(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "PAGE_SIZE", 2)
    with app.app_context():
        job = run(DEACTIVATE, [cast.ada, cast.omar, cast.sam, UNKNOWN_ID], cast.ada)
        first, more = reports.read(job)
        assert [(line.email, line.fate) for line in first] == [
            (None, "USER_NOT_FOUND"),
            ("ada@example.com", "YOURSELF"),
        ]
        assert more
        assert [line.fate for line in reports.read(job, page=2)[0]] == ["done", "done"]
        assert not reports.read(job, page=2)[1]
        refused, more = reports.read(job, refused=True)
        assert [line.fate for line in refused] == ["USER_NOT_FOUND", "YOURSELF"]
        assert not more
        assert reports.numbers(job) == {"USER_NOT_FOUND": 1, "YOURSELF": 1, "done": 2}


@pytest.mark.parametrize("wanted", [DEACTIVATE, REACTIVATE, DELETE, RESTORE, LINKS, ROLE], ids=lambda one: one.act)
@pytest.mark.parametrize("asker", ["ada", "omar"])
def test_the_question_is_true(app: Flask, cast: Cast, wanted: Wanted, asker: str) -> None:
    """What is foreseen is what becomes of each, for users of all kinds."""
    deleted, taken, stopped = (make_user(app, f"{name}@example.com") for name in ("deleted", "taken", "stopped"))
    with app.app_context():
        user_changes.delete_user(deleted.id, actor=TERMINAL)
        user_changes.delete_user(taken.id, actor=TERMINAL)
        user_changes.deactivate_user(stopped.id, actor=TERMINAL)
        holder = make_user(app, "taken@example.com", Role.MEMBER)
        everybody = [cast.ada, cast.omar, cast.vera, cast.sam, deleted, taken, stopped, holder]
        actor = terminal_as(getattr(cast, asker))
        if not wanted.is_for(actor):
            with pytest.raises(Denied):
                asked(wanted, everybody, getattr(cast, asker))
            return
        job = begin(wanted, [*everybody, UNKNOWN_ID], getattr(cast, asker))
        touched, untouched = foreseen(job, actor)
        take_up(job.id)
        numbers = reports.numbers(job)
    assert {"done": touched, **untouched} == numbers
    assert sum(numbers.values()) == 9


def test_last_administrator_is_foreseen(app: Flask, cast: Cast) -> None:
    """If it is done to all administrators, the question says that one of them stays."""
    grace = make_user(app, "grace@example.com", Role.ADMIN)
    asker = replace(terminal_as(cast.ada), user_id=cast.sam.id)
    with app.app_context():
        job = asked(DELETE, [cast.ada, grace, cast.vera], cast.ada)
        assert foreseen(job, asker) == (2, {"LAST_ADMINISTRATOR": 1})
        (one,) = prospects.foresee(job, asker).untouched
    assert one.named == [(grace.id, "grace@example.com")]


def test_links_once(app: Flask, cast: Cast) -> None:
    """The links work; they are handed out once, to who asked for the act; a link that has ended since is left out."""
    jo, stopped, pat = (make_user(app, f"{name}@example.com") for name in ("jo", "stopped", "pat"))
    execute(app, "UPDATE users SET password_hash = '' WHERE id = :id", id=jo.id)
    grace = make_user(app, "grace@example.com", Role.ADMIN)
    with app.app_context():
        user_changes.deactivate_user(stopped.id, actor=TERMINAL)
        job = begin(LINKS, [cast.sam, jo, stopped, pat], cast.ada)
        with pytest.raises(ActNotFound):
            reports.take_links(job.id, actor=at_pages(cast.ada))
        take_up(job.id)
        execute(app, "UPDATE bulk_acts SET actor_kind = 'terminal'")
        own = terminal_as(cast.ada)
        password_links.make(pat.id, actor=TERMINAL)
        with pytest.raises(ConfirmationNeeded):
            reports.take_links(job.id, actor=replace(own, needs_confirmation=True))
        with pytest.raises(ActNotFound):
            reports.take_links(job.id, actor=terminal_as(grace))
        assert reports.can_take_links(jobs.find(job.id, own), own)
        assert not reports.can_take_links(jobs.find(job.id, own), terminal_as(grace))
        links = reports.take_links(job.id, actor=own)
        assert [link.user.id for link in links] == [cast.sam.id, jo.id]
        lifetimes = [link.ends_at - (job.started_at or clock.now()) for link in links]
        assert lifetimes == [timedelta(hours=24), timedelta(days=7)]
        assert password_links.find_user(links[0].token).id == cast.sam.id
        assert not reports.can_take_links(jobs.find(job.id, own), own)
        with pytest.raises(LinksTaken):
            reports.take_links(job.id, actor=own)
    assert not any(link.token in str(rows(app, "SELECT * FROM bulk_acts")) for link in links)
