"""Acts on many users at the pages: the choice in the list, the question, the progress and the report."""

import csv
import html
import io
import re
from datetime import timedelta

import pytest
from flask import Flask

from support.acts import add_crowd, fates
from support.api import Answer
from support.databases import execute, rows
from support.list_pages import LIST, link, words
from support.people import Cast, make_user
from support.visitors import Visitor, problems_in, signed_in, summary_in
from users import clock
from users.bulk import runner
from users.bulk.acts import jobs
from users.roles import Role
from users.services.lists import bounded
from users.storage.models import User

pytestmark = pytest.mark.one_database


def choose(browser: Visitor, act: str, *users: User | str, query: str = "", **more: str) -> Answer:
    """Send the form of the list."""
    chosen = [one if isinstance(one, str) else one.id for one in users]
    return browser.post(f"{LIST}{query}", act=act, user=chosen, **more)


def question(browser: Visitor, act: str, *users: User | str, query: str = "", **more: str) -> Answer:
    """Choose, and open the question."""
    answer = choose(browser, act, *users, query=query, **more)
    assert answer.status_code == 303, summary_in(answer)
    return browser.get(answer.location)


def act_id(app: Flask) -> str:
    """Return the id of the newest act."""
    return str(rows(app, "SELECT id FROM bulk_acts ORDER BY id DESC LIMIT 1")[0].id)


def work(app: Flask) -> None:
    """Do what is due, as a child of the server does."""
    with app.app_context():
        runner.work_here("acts")


def whole(app: Flask, browser: Visitor, act: str, *users: User | str) -> str:
    """Choose, answer the question with yes, let it be done, and return the path of the act."""
    question(browser, act, *users)
    path = f"/admin/acts/{act_id(app)}"
    assert browser.post(f"{path}/start").location == path
    work(app)
    return path


def options_in(page: Answer) -> list[str]:
    """Return the values of the choices of acts."""
    select = re.findall(r'<select id="act".*?</select>', page.text, re.DOTALL)
    return re.findall(r'value="([^"]+)"', select[0]) if select else []


def test_the_list_offers_what_may_be_done(app: Flask, cast: Cast, ada: Visitor, omar: Visitor) -> None:
    """Boxes and acts are there for those who may change users; the acts fit the status that is shown."""
    roles = ["role:role_member", "role:role_auditor", "role:role_operator", "role:role_admin", "role:"]
    page = ada.get(LIST)
    assert options_in(page) == ["deactivate", "reactivate", "links", *roles, "delete"]
    assert page.text.count('type="checkbox" name="user"') == 4
    assert 'name="all"' not in page.text, "all users are on this page"
    assert options_in(omar.get(LIST)) == ["deactivate", "reactivate", "links"]
    for browser in (ada, omar):
        execute(app, "UPDATE users SET is_active = false, deleted_at = updated_at WHERE id = :id", id=cast.sam.id)
        assert options_in(browser.get(f"{LIST}?status=deleted")) == (["restore"] if browser == ada else [])
    page = signed_in(app, cast.vera).get(LIST)
    assert options_in(page) == []
    assert 'type="checkbox" name="user"' not in page.text


def test_from_the_choice_to_the_report(app: Flask, cast: Cast, ada: Visitor) -> None:
    """The question says how many and who stays as they are; then each fate is told."""
    page = question(ada, "deactivate", cast.sam, cast.omar, cast.ada, query="?q=example&sort=email")
    assert "<h1>Deactivate 2 users?</h1>" in page.text
    assert "1 user stays as they are You1: ada@example.com" in words(page)
    assert link(page, "Cancel") == f"{LIST}?q=example&sort=email"
    assert rows(app, "SELECT count(*) FROM users WHERE NOT is_active") == [(0,)]
    path = f"/admin/acts/{act_id(app)}"
    assert ada.post(f"{path}/start").location == path
    moving = ada.get(path)
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in moving.text
    assert 'data-moves="0% done"' in moving.text
    assert '<progress aria-labelledby="progress" max="100" value="0">' in moving.text
    assert "0 of 3 users" in words(moving)
    work(app)
    report = ada.get(path)
    assert "refresh" not in report.text
    assert "<h1>2 users deactivated</h1>" in report.text
    assert "All 3 Refused 1" in words(report)
    assert "1 to 3 of 3 users, oldest first" in words(report)
    refused = ada.get(f"{path}?show=refused")
    assert "1 to 1 of 1 user, oldest first" in words(refused)
    assert "omar@example.com" not in words(refused).partition("<main")[2]
    assert f'href="/admin/audit?request={act_id(app)}"' in report.text
    trail = words(ada.get(f"/admin/audit?request={act_id(app)}"))
    assert (
        "Ada@example.com deactivated sam@example.com" in trail or "ada@example.com deactivated sam@example.com" in trail
    )
    listed = ada.get("/admin/acts")
    assert link(listed, "Deactivate 3 users") == path
    assert ada.post(f"{path}/start").location == path, "sent twice, it is done once"
    assert len(rows(app, "SELECT 1 FROM audit_events WHERE action = 'user.deactivate'")) == 2


def test_nothing_chosen(cast: Cast, ada: Visitor) -> None:
    """The list is shown again, as it was, with what is missing and with those who were ticked."""
    answer = choose(ada, "", query="?status=active")
    assert answer.status_code == 422
    assert problems_in(answer) == [("users", "Select at least one user"), ("act", "Choose what to do")]
    assert 'aria-current="page">Active' in answer.text
    answer = choose(ada, "something", cast.sam)
    assert problems_in(answer) == [("act", "Choose what to do")]
    assert re.findall(r'value="(\w+)" form="chosen" checked', answer.text) == [cast.sam.id]
    assert problems_in(choose(ada, "deactivate", "usr_\0", "x")) == [("users", "Select at least one user")]


def test_all_that_the_list_finds(app: Flask, cast: Cast, ada: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are those of all pages, counted; more than 10,000 are refused, and a partial list says so."""
    with app.app_context():
        crowd = add_crowd(60)
    page = ada.get(f"{LIST}?q=crowd")
    assert "All 60 that this list finds" in words(page)
    asked = question(ada, "deactivate", query="?q=crowd", all="y")
    assert "<h1>Deactivate 60 users?</h1>" in asked.text
    assert "There may be more users" not in asked.text
    assert sorted(fates(app, act_id(app))) == crowd
    assert "Deactivate 63 users?" in question(ada, "deactivate", query="?status=active", all="y").text
    monkeypatch.setattr(bounded, "READ", 20)
    bounded._statement.cache_clear()
    asked = question(ada, "deactivate", query="?q=crowd", all="y")
    assert "Deactivate 20 users?" in asked.text
    assert "There may be more users who match" in asked.text
    bounded._statement.cache_clear()
    monkeypatch.setattr(jobs, "MOST", 50)
    answer = choose(ada, "deactivate", query="?status=active", all="y")
    assert "finds more than 50 users" in problems_in(answer)[0][1]
    assert choose(ada, "deactivate", query="?role=x", all="y").status_code == 422


def test_who_may(app: Flask, cast: Cast, ada: Visitor, omar: Visitor) -> None:
    """An act needs its permission; another user's act is seen only by who holds as much."""
    assert choose(omar, "delete", cast.sam).status_code == 403
    assert choose(omar, "role:role_member", cast.sam).status_code == 403
    page = question(omar, "deactivate", cast.sam, cast.vera, cast.ada)
    assert "Can do more than you2: " in words(page)
    path = f"/admin/acts/{act_id(app)}"
    assert ada.get(path).status_code == 404, "it is the question of another user"
    assert ada.post(f"{path}/start").status_code == 404
    assert omar.post(f"{path}/start").status_code == 303
    assert ada.get(path).status_code == 200
    assert signed_in(app, cast.vera).get(path).status_code == 404
    assert "No acts on many users yet" in words(signed_in(app, cast.vera).get("/admin/acts"))
    work(app)
    assert "<h1>1 user deactivated</h1>" in ada.get(path).text


def test_step_up(app: Flask, cast: Cast, ada: Visitor) -> None:
    """The question and the start need a fresh proof that it is the user."""
    question(ada, "reactivate", cast.sam)
    path = f"/admin/acts/{act_id(app)}"
    execute(app, "UPDATE admin_sessions SET confirmed_at = :at", at=clock.now() - timedelta(minutes=11))
    assert ada.get(path).location == f"/account/confirm?next={path}"
    answer = ada.post(f"{path}/start")
    assert answer.status_code == 403
    assert "Confirm that it is you</h1>" in answer.text
    assert rows(app, "SELECT state FROM bulk_acts") == [("asked",)]


def test_stop(app: Flask, cast: Cast, ada: Visitor) -> None:
    """A stopped act keeps what was done, and is not taken up again."""
    question(ada, "deactivate", cast.sam, cast.omar)
    path = f"/admin/acts/{act_id(app)}"
    ada.post(f"{path}/start")
    assert ada.post(f"{path}/cancel").location == path
    page = ada.get(path)
    assert "Stopped" in words(page)
    assert "It was stopped after 0 of 2 users" in words(page)
    work(app)
    assert rows(app, "SELECT count(*) FROM users WHERE NOT is_active") == [(0,)]
    ada.post(f"{path}/cancel")
    assert "This had ended already" in words(ada.get(path))


def test_failed(app: Flask, cast: Cast, omar: Visitor, ada: Visitor) -> None:
    """An act whose asker may not do it any more says so."""
    question(omar, "deactivate", cast.sam)
    path = f"/admin/acts/{act_id(app)}"
    omar.post(f"{path}/start")
    execute(app, "UPDATE users SET global_role_id = NULL WHERE id = :id", id=cast.omar.id)
    work(app)
    assert "may not do this any more, so it stopped after 0 of 1 user" in summary_in(ada.get(path))


def test_links(app: Flask, cast: Cast, ada: Visitor) -> None:
    """The links come in one file, this once; they work, and formulas in names do not."""
    jo = make_user(app, "jo@example.com", first_name="=cmd|x", last_name="O'Neil")
    path = whole(app, ada, "links", cast.sam, jo)
    page = ada.get(path)
    assert "<h1>2 users given a password link</h1>" in page.text
    assert "password?token" not in page.text
    file = ada.post(f"{path}/links")
    assert (file.status_code, file.headers["Cache-Control"]) == (200, "no-store")
    assert file.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert file.headers["Content-Disposition"] == 'attachment; filename="password-links.csv"'
    first, second = csv.DictReader(io.StringIO(file.text))
    assert (first["email"], second["email"], second["first_name"]) == ("sam@example.com", "jo@example.com", "'=cmd|x")
    path_of_link = first["password_url"].partition("localhost")[2]
    opened = Visitor(app.test_client()).get(path_of_link, follow_redirects=True)
    assert "sam@example.com" in opened.text
    again = ada.post(f"{path}/links")
    assert again.status_code == 422
    assert "These links were shown already" in summary_in(again)
    assert "The links were downloaded, and are not shown again" in words(ada.get(path))
    assert first["password_url"].partition("token=")[2] not in str(rows(app, "SELECT * FROM audit_events"))


@pytest.mark.parametrize(
    ("act", "prepared", "title"),
    [
        ("reactivate", "is_active = false", "1 user reactivated"),
        ("delete", "is_active = true", "1 user deleted"),
        ("restore", "deleted_at = updated_at", "1 user restored"),
        ("role:role_auditor", "is_active = true", "1 user given the role “Auditor”"),
        ("role:", "global_role_id = 'role_member'", "1 user without a role now"),
    ],
)
def test_each_act(app: Flask, cast: Cast, ada: Visitor, act: str, prepared: str, title: str) -> None:
    execute(app, f"UPDATE users SET {prepared} WHERE id = :id", id=cast.sam.id)
    assert f"<h1>{title}</h1>" in html.unescape(ada.get(whole(app, ada, act, cast.sam)).text)
    assert fates(app, act_id(app)) == {cast.sam.id: "done"}
    path = whole(app, ada, act, cast.sam)
    report = html.unescape(ada.get(path).text)
    assert "<h1>No user " in report
    assert fates(app, act_id(app)) == {cast.sam.id: "unchanged"}


def test_nobody_can_be_changed(cast: Cast, ada: Visitor) -> None:
    page = question(ada, "reactivate", cast.sam)
    assert "<h1>Nobody can be changed</h1>" in page.text
    assert "Active already" in words(page)
    assert "<button" not in page.text.partition("<main")[2]


def test_the_report_is_paged_and_goes(app: Flask, ada: Visitor) -> None:
    with app.app_context():
        crowd = add_crowd(55)
    path = whole(app, ada, "deactivate", *crowd)
    first = ada.get(path)
    assert "1 to 50 of 55 users" in words(first)
    second = ada.get(link(first, "Next"))
    assert "51 to 55 of 55 users" in words(second)
    assert link(second, "Next") == ""
    for page in ("0", "x", "-1", "99999", "9" * 50, "٣"):
        assert ada.get(f"{path}?page={page}").status_code == 200
    execute(app, "DELETE FROM bulk_act_users")
    assert "<h1>Deactivate 55 users</h1>" in ada.get(path).text


def test_list_of_acts(app: Flask, cast: Cast, ada: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "No acts on many users yet" in words(ada.get("/admin/acts"))
    monkeypatch.setattr("users.pages.bulk_acts.show._PER_PAGE", 1)
    whole(app, ada, "deactivate", cast.sam)
    grace = make_user(app, "grace@example.com", Role.ADMIN)
    whole(app, signed_in(app, grace), "reactivate", cast.sam)
    newest = ada.get("/admin/acts")
    assert "Reactivate 1 user Done 0 grace@example.com" in words(newest)
    older = ada.get(link(newest, "Next"))
    assert "Deactivate 1 user Done 0 ada@example.com" in words(older)
    assert "There are no acts on this page" in words(ada.get(f"/admin/acts?before=act_{'0' * 32}"))
    assert ada.get("/admin/acts?before=%00").status_code == 200
