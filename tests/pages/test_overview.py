"""The overview: what it counts and links, its pictures in words, and who sees which part."""

import html
import re
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask

from support.api import Answer
from support.audit_events import add_event
from support.databases import execute, rewrite_audit, statements
from support.factors import add_app
from support.people import Cast, make_key, make_user
from support.visitors import Visitor, signed_in
from users import __version__, clock
from users.pages.overview import charts
from users.roles import Permission, Role
from users.services import key_queries
from users.services.lists import counts
from users.services.overview import daily_counts
from users.services.overview.daily_counts import Day
from users.storage.lists.paging import Count
from users.storage.models import User, segments

OVERVIEW = "/admin"
A_DAY = timedelta(days=1)


def words(page: Answer) -> str:
    """Return the text of the page's main part."""
    main = page.text.partition("<main")[2].partition("<footer")[0]
    whole = main.replace('<wbr><span class="whole">', "")
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", whole.partition(">")[2])).split())


def tiles(page: Answer) -> dict[str, tuple[str, str]]:
    """Return the numbers in words, and where each leads, by name."""
    found = re.findall(r'<dt><a href="([^"]+)">([^<]+)</a></dt><dd>(.*?)</dd>', page.text)
    text = {
        name: (" ".join(re.sub(r"<[^>]+>", " ", number).split()), html.unescape(path)) for path, name, number in found
    }
    assert len(text) == 6
    return text


def chart(page: Answer, name: str) -> str:
    """Return a section of the page, nothing if there is none."""
    found = re.search(rf'<section class="panel" aria-labelledby="{name}">.*?</section>', page.text, re.DOTALL)
    return found[0] if found else ""


def table(page: Answer, name: str) -> dict[str, list[str]]:
    """Return the cells of the table beneath a picture, by the day."""
    found = re.findall(r'<th scope="row" class="whole"><time[^>]*>([^<]+)</time></th>(.*?)</tr>', chart(page, name))
    return {day: re.findall(r"<td>([^<]*)</td>", cells) for day, cells in found}


def on(ago: int) -> str:
    """Return the day so many days ago, as the page names it."""
    return charts.short_date((clock.now().astimezone(UTC) - ago * A_DAY).date())


def test_users_in_numbers(app: Flask, ada: Visitor, cast: Cast) -> None:
    execute(app, "UPDATE users SET is_active = false WHERE id = :sam", sam=cast.sam.id)
    execute(app, "UPDATE users SET last_verified = :now WHERE id = :vera", now=clock.now(), vera=cast.vera.id)
    execute(app, "UPDATE users SET password_hash = '' WHERE id = :omar", omar=cast.omar.id)
    gone = make_user(app, "gone@example.com")
    execute(app, "UPDATE users SET deleted_at = updated_at WHERE id = :gone", gone=gone.id)
    assert tiles(ada.get(OVERVIEW)) == {
        "Active": ("3", "/admin/users?status=active"),
        "Deactivated": ("1", "/admin/users?status=deactivated"),
        "Deleted": ("1", "/admin/users?status=deleted"),
        "No password": ("1", "/admin/users?has_password=false"),
        "Not verified": ("3", "/admin/users?verified=false"),
        "Never signed in": ("2", "/admin/users?status=active&never_signed_in=true"),
    }


def test_counts_that_stop(app: Flask, ada: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not read is neither counted nor denied."""
    monkeypatch.setattr(counts, "never_signed_in", lambda: Count(312, many=True))
    by_segment = {segment: Count(0) for segment in segments()} | {11: Count(9_999), 8: Count(2), 7: Count(9_999)}
    monkeypatch.setattr(counts, "counts_by_segment", lambda: by_segment)
    found = tiles(ada.get(OVERVIEW))
    assert found["Active"][0] == "more than 10,000"
    assert found["Deactivated"][0] == "9,999"
    assert found["Never signed in"][0] == "312 of the newest 10,000 active users"


def test_pictures_and_tables(app: Flask, ada: Visitor) -> None:
    for number in range(3):
        add_event(app, number, clock.now() - 2 * A_DAY, action="session.create")
    rewrite_audit(app, "UPDATE audit_events SET outcome = 'refused' WHERE id LIKE '%0002'")
    page = ada.get(OVERVIEW)
    assert table(page, "sign-ups")["Today"] == ["4 so far"]
    assert list(table(page, "sign-ins").items())[:3] == [
        ("Today", ["1 so far", "0 so far"]),
        (on(1), ["0", "0"]),
        (on(2), ["2", "1"]),
    ]
    assert len(table(page, "sign-ins")) == 30
    assert "4 sign-ups in the last 30 days" in words(page)
    assert "3 sign-ins (up) and 1 refusal (down) in the last 30 days" in words(page)
    assert f"Sign-ins: most on {on(2)}, 2; none on 28 days." in words(page)
    assert f"<title>{on(2)}: 2 sign-ins, 1 refusal</title>" in page.text
    assert page.text.count('<svg class="plot" role="img"') == 2
    assert "style=" not in page.text


def test_nothing_happened(app: Flask, ada: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a sentence in place of an empty picture."""
    days = [Day((clock.now() - ago * A_DAY).date(), Count(0), Count(0), Count(0), True) for ago in range(30)]
    monkeypatch.setattr(daily_counts, "recent", lambda: days)
    page = ada.get(OVERVIEW)
    assert "<svg" not in page.text
    assert "<details" not in page.text
    assert "No user was created in the last 30 days." in words(page)
    assert "No sign-in was tried in the last 30 days." in words(page)


def test_days_that_are_not_known(app: Flask, ada: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are neither 0 nor without a mark in the picture."""
    begin = datetime(2026, 6, 1, tzinfo=UTC).date()
    days = [
        Day(begin),
        Day(begin + A_DAY, Count(5), None, None, is_counted=True),
        Day(begin + 2 * A_DAY, Count(10_000, many=True), Count(9_990, many=True), Count(7, many=True), is_counted=True),
    ]
    monkeypatch.setattr(daily_counts, "recent", lambda: days)
    page = ada.get(OVERVIEW)
    ups, ins = chart(page, "sign-ups"), chart(page, "sign-ins")
    assert table(page, "sign-ups") == {
        "1 Jun": ["Not counted yet"],
        "2 Jun": ["5"],
        "Today": ["More than 10,000 so far"],
    }
    assert table(page, "sign-ins") == {
        "1 Jun": ["Not counted yet"] * 2,
        "2 Jun": ["Not known"] * 2,
        "Today": ["At least 9,990 so far", "At least 7 so far"],
    }
    assert (ups.count('class="gap"'), ins.count('class="gap"')) == (1, 2)
    assert "<title>2 Jun: not known</title>" in ins
    assert "not counted yet. Open this page again" in ups
    assert "pruned" not in ups
    assert "the audit trail was pruned before they were counted" in ins
    assert "At least 10,005 sign-ups in the last 30 days" in words(page)
    assert "Sign-ups: most on 3 Jun, more than 10,000; none on 0 days." in words(page)
    days.append(Day(begin + 3 * A_DAY, Count(0), is_counted=True))
    assert "more than 10,000; none on 1 day." in words(ada.get(OVERVIEW))
    monkeypatch.setattr(daily_counts, "recent", lambda: [Day(begin), Day(begin + A_DAY, Count(0), is_counted=True)])
    assert "Shaded" not in words(ada.get(OVERVIEW))
    assert "Some days are not counted yet" in words(ada.get(OVERVIEW))


def test_api_keys(app: Flask, ada: Visitor, cast: Cast) -> None:
    for number in range(7):
        make_key(app, Permission.USERS_READ, name=f"key {number}")
    now = clock.now()
    soon = {0: 13, 1: 2, 2: -1, 3: 15}
    for number, days in soon.items():
        execute(
            app, "UPDATE api_keys SET expires_at = :at WHERE name = :name", at=now + days * A_DAY, name=f"key {number}"
        )
    execute(app, "UPDATE api_keys SET last_used_at = :at WHERE name < 'key 5'", at=now)
    make_key(app, Permission.USERS_READ, owner=cast.sam, name="of nobody")
    execute(app, "UPDATE users SET is_active = false WHERE id = :sam", sam=cast.sam.id)
    page = ada.get(OVERVIEW)
    assert (
        "API keys that expire within 14 days key 1 ends in 2 days key 0 ends in 13 days API keys never used"
        in words(page)
    )
    made = f"made on {clock.date(now)}"
    assert f"never used key 5 {made} key 6 {made} Enrol" in words(page)
    execute(app, "UPDATE api_keys SET last_used_at = NULL, expires_at = NULL")
    page = ada.get(OVERVIEW)
    assert "expire within" not in words(page)
    assert f"key 4 {made} and 2 more" in words(page)
    assert '<a href="/admin/keys">and 2 more</a>' in page.text


def test_keys_that_were_not_read(app: Flask, ada: Visitor, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is said about them, not even that nothing is amiss."""
    add_app(app, cast.ada)
    execute(app, "DELETE FROM api_keys")
    assert "Nothing: every administrator has a second factor, every API key has been used" in words(ada.get(OVERVIEW))
    for number in range(3):
        make_key(app, Permission.USERS_READ, name=f"key {number}")
    execute(app, "UPDATE api_keys SET last_used_at = :at WHERE name <> 'key 0'", at=clock.now())
    monkeypatch.setattr(key_queries, "READ", 2)
    found = words(ada.get(OVERVIEW))
    assert "Needs attention Only the 2 newest API keys were looked at." in found


def test_administrators_without_a_second_factor(app: Flask, ada: Visitor, cast: Cast) -> None:
    assert "No second factor The only administrator: ada@example.com" in words(ada.get(OVERVIEW))
    added = [make_user(app, f"admin{number}@example.com", Role.ADMIN) for number in range(6)]
    add_app(app, added[-1])
    found = words(ada.get(OVERVIEW))
    assert "6 of 7 administrators: ada@example.com , admin0@example.com ," in found
    assert "admin3@example.com and 1 more" in found
    for user in (cast.ada, *added[:-1]):
        add_app(app, user)
    assert "No second factor" not in words(ada.get(OVERVIEW))


def test_installation(app: Flask, ada: Visitor) -> None:
    name = "SQLite 3" if app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite") else "PostgreSQL "
    assert f"Enrol {__version__} on {name}" in words(ada.get(OVERVIEW))
    assert "schema 00" in words(ada.get(OVERVIEW))


@pytest.mark.parametrize(
    ("person", "ids"), [("ada", ["sign-ups", "sign-ins"]), ("vera", ["sign-ups", "sign-ins"]), ("omar", ["sign-ups"])]
)
def test_parts_need_permissions(app: Flask, cast: Cast, person: str, ids: list[str]) -> None:
    """The audit trail's numbers, the keys and the installation are for those who may read them elsewhere."""
    user: User = getattr(cast, person)
    browser = signed_in(app, user)
    page = browser.get(OVERVIEW)
    assert re.findall(r'<section class="panel" aria-labelledby="([^"]+)"', page.text) == ids
    found = words(page)
    assert ("Needs attention" in found) is ("SQL" in found) is ("ada@example.com" in found) is (person == "ada")
    assert ("Create a user" in found) is (person != "vera")
    assert ("First steps" in found) is (person == "ada")


def test_navigation(app: Flask, ada: Visitor, cast: Cast) -> None:
    """The overview comes first, and only there it is the current page."""
    nav = ada.get(OVERVIEW).text.partition('<nav aria-label="Main">')[2].partition("</nav>")[0]
    assert re.findall(r'href="([^"]+)"( aria-current="page")?', nav)[0] == ("/admin", ' aria-current="page"')
    assert nav.count("aria-current") == 1
    page = ada.get("/admin/users").text
    assert '<a href="/admin">Overview</a>' in page
    assert signed_in(app, cast.sam).get(OVERVIEW).location == "/account"


def test_constant_number_of_queries(app: Flask, ada: Visitor) -> None:
    ada.get(OVERVIEW)
    with statements(app) as before:
        ada.get(OVERVIEW)
    for number in range(8):
        user = make_user(app, f"person{number}@example.com", Role.ADMIN)
        make_key(app, Permission.USERS_READ, owner=user)
    with statements(app) as after:
        ada.get(OVERVIEW)
    assert len(before) == len(after) <= 13
