"""The counts of days: each day that has ended is counted once, and what is not known is not 0."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Barrier, Thread

import pytest
from flask import Flask

from support.audit_events import add_event
from support.clocks import SteadyClock
from support.databases import execute, plans_of, read_only, rewrite_audit, rows, statements
from support.people import Cast, make_user
from support.pruned_events import prune
from users import clock, ids
from users.services.overview import daily_counts
from users.services.overview.daily_counts import Day
from users.storage import database
from users.storage.lists.paging import Count
from users.storage.models import db

NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)
A_DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be a noon in June."""
    monkeypatch.setattr(clock, "now", lambda: NOON)


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> SteadyClock:
    """A monotonic clock that the test moves."""
    steady = SteadyClock()
    monkeypatch.setattr(clock, "monotonic", steady)
    return steady


def sign_up(app: Flask, number: int, at: datetime) -> None:
    """Let a user have been created at this time."""
    user = make_user(app, f"person{number}.{at:%Y%m%d%H%M}@example.com")
    new_id = f"{ids.first('usr', at)[:-20]}7{number:019x}"
    execute(app, "UPDATE users SET id = :new WHERE id = :id", new=new_id, id=user.id)


def sign_in(app: Flask, number: int, at: datetime, outcome: str = "ok", action: str = "session.create") -> None:
    """Let somebody have tried to sign in at this time."""
    event_id = add_event(app, number, at, action=action)
    if outcome != "ok":
        rewrite_audit(app, "UPDATE audit_events SET outcome = :outcome WHERE id = :id", outcome=outcome, id=event_id)


def recent(app: Flask) -> dict[date, Day]:
    """Return the last days by their date."""
    with app.app_context():
        return {one.day: one for one in daily_counts.recent()}


def kept(app: Flask) -> dict[str, tuple[int, int | None, int | None]]:
    """Return the rows of the table that are not all 0, by the day."""
    found = rows(app, "SELECT day, users_created, sign_ins, refusals FROM daily_counts ORDER BY day")
    return {str(day): tuple(counts) for day, *counts in found if any(one != 0 for one in counts)}


def test_days_are_counted_once(app: Flask) -> None:
    for number, at in enumerate([NOON - A_DAY, NOON - A_DAY, NOON - 29 * A_DAY, NOON - 30 * A_DAY, NOON]):
        sign_up(app, number, at)
    outcomes = ["ok", "ok", "refused", "throttled"]
    for number, outcome in enumerate(outcomes):
        sign_in(app, number, NOON - A_DAY, outcome)
    sign_in(app, 4, NOON - A_DAY, action="user.verify_password")
    sign_in(app, 5, NOON - A_DAY, "refused", action="user.verify_password")
    sign_in(app, 6, NOON - A_DAY, "refused", action="session.confirm")  # a user who is signed in
    days = recent(app)
    assert list(days) == [date(2026, 5, 17) + number * A_DAY for number in range(30)]
    assert days[date(2026, 6, 14)] == Day(date(2026, 6, 14), Count(2), Count(3), Count(3), is_counted=True)
    assert days[date(2026, 6, 13)] == Day(date(2026, 6, 13), Count(0), Count(0), Count(0), is_counted=True)
    assert days[date(2026, 6, 15)] == Day(date(2026, 6, 15), Count(1), Count(0), Count(0), is_counted=True)
    assert kept(app) == {"2026-05-17": (1, 0, 0), "2026-06-14": (2, 3, 3)}
    assert len(rows(app, "SELECT day FROM daily_counts")) == 29
    with statements(app) as asked:
        assert recent(app) == days
    assert len(asked) == 2, "the table and today"


def test_erased_users_stay_counted(app: Flask) -> None:
    sign_up(app, 1, NOON - A_DAY)
    sign_up(app, 2, NOON - 2 * A_DAY)
    execute(app, "UPDATE users SET deleted_at = updated_at")
    before = recent(app)
    execute(app, "DELETE FROM users")
    assert recent(app) == before
    assert before[date(2026, 6, 14)].users_created == Count(1)


@pytest.mark.parametrize("minutes", [0, 4])
def test_a_day_that_has_just_ended(app: Flask, monkeypatch: pytest.MonkeyPatch, minutes: int) -> None:
    """A create that began before midnight may not be committed yet."""
    midnight = datetime(2026, 6, 15, tzinfo=UTC)
    monkeypatch.setattr(clock, "now", lambda: midnight + timedelta(minutes=minutes))
    sign_up(app, 1, midnight - timedelta(seconds=1))
    sign_up(app, 2, midnight)
    days = recent(app)
    assert days[date(2026, 6, 14)] == Day(date(2026, 6, 14), Count(1), Count(0), Count(0), is_counted=True)
    assert days[date(2026, 6, 15)].users_created == Count(1)
    assert len(rows(app, "SELECT day FROM daily_counts")) == 28
    monkeypatch.setattr(clock, "now", lambda: midnight + daily_counts.SETTLED)
    recent(app)
    assert kept(app) == {"2026-06-14": (1, 0, 0)}


def test_pruned_days_are_not_known(app: Flask, tmp_path: Path) -> None:
    """Neither is a day of which only the morning is pruned. Users are still there."""
    for ago in (10, 9, 8):
        sign_up(app, ago, NOON - ago * A_DAY)
        sign_in(app, ago, NOON - ago * A_DAY)
    prune(app, tmp_path / "events.jsonl", days=9)
    days = recent(app)
    assert days[date(2026, 6, 6)] == Day(date(2026, 6, 6), Count(1), None, None, True)
    assert days[date(2026, 6, 7)].sign_ins == Count(1)
    assert kept(app)["2026-06-05"] == (1, None, None)
    assert recent(app) == days


def test_counted_days_stay_known(app: Flask, tmp_path: Path) -> None:
    """A prune does not change what was counted before."""
    sign_in(app, 1, NOON - 9 * A_DAY)
    days = recent(app)
    prune(app, tmp_path / "events.jsonl", days=5)
    assert recent(app)[date(2026, 6, 6)] == days[date(2026, 6, 6)]


def test_today_is_counted_up_to_a_limit(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daily_counts, "COUNTED", 3)
    monkeypatch.setattr(daily_counts, "_SOME", daily_counts._statement(4))
    for number in range(4):
        sign_up(app, number, NOON)
        sign_in(app, number, NOON, "refused" if number == 3 else "ok")
    today = recent(app)[NOON.date()]
    assert today.users_created == Count(3, many=True)
    assert (today.sign_ins, today.refusals) == (Count(3, many=True), Count(1, many=True))


def test_large_days_take_several_requests(app: Flask, seconds: SteadyClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest are counted first, and a day that is not counted yet is not 0."""
    count = daily_counts._count

    def slowly(day: date) -> object:
        seconds.seconds += 0.4
        return count(day)

    monkeypatch.setattr(daily_counts, "_count", slowly)
    days = recent(app)
    assert [day for day, one in days.items() if not one.is_counted] == list(days)[:26]
    assert days[date(2026, 5, 17)] == Day(date(2026, 5, 17))
    assert [one.is_counted for one in recent(app).values()].count(False) == 23


def test_two_requests_at_once(app: Flask) -> None:
    """Both count the same days, and the second to write does nothing."""
    sign_up(app, 1, NOON - A_DAY)
    together, found = Barrier(2), []
    keep = daily_counts._keep

    def ask() -> None:
        found.append(recent(app))

    def keep_together(counts: object) -> None:
        together.wait(10)
        keep(counts)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(daily_counts, "_keep", keep_together)
        threads = [Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found[0] == found[1]
    assert len(rows(app, "SELECT day FROM daily_counts")) == 29


def test_read_only_database(app: Flask, seconds: SteadyClock) -> None:
    """The days are counted once in each process, and kept once that is possible."""
    sign_up(app, 1, NOON - A_DAY)
    with read_only(app):
        days = recent(app)
        with statements(app) as asked:
            assert recent(app) == days
    assert days[date(2026, 6, 14)].users_created == Count(1)
    assert not [one for one in asked if "daily_counts" in one and "INSERT" in one]
    assert len(asked) == 2
    assert kept(app) == {}
    with app.app_context():
        db.engine.dispose()
        app.extensions["enrol.no_writes_until"] = 0.0
    seconds.seconds += daily_counts.AGAIN_SECONDS
    assert recent(app) == days
    assert kept(app) == {"2026-06-14": (1, 0, 0)}


def test_lock_of_another_writer(app: Flask) -> None:
    sign_up(app, 1, NOON - A_DAY)
    with app.app_context(), database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM daily_counts")
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("LOCK TABLE daily_counts IN EXCLUSIVE MODE")
        days = recent(app)
    assert days[date(2026, 6, 14)].users_created == Count(1)
    assert kept(app) == {}


@pytest.mark.parametrize("statement", ["_ALL", "_SOME"])
def test_counts_read_the_indexes(app: Flask, cast: Cast, statement: str) -> None:
    with app.app_context():
        (plan,) = plans_of(lambda: daily_counts._read(getattr(daily_counts, statement), NOON.date()))
    assert "SCAN users" not in plan
    assert "Seq Scan" not in plan
    assert "SCAN audit_events" not in plan
    on_sqlite = app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite")
    assert plan.count("SEARCH audit_events" if on_sqlite else "on audit_events") >= 3
