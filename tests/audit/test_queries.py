"""Reading the audit trail: filters, pages and exports, and the indexes that keep them fast."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, text

from support.audit_events import ADA, DAY, KEY, OMAR, add_event
from support.databases import plans_of, rows
from users import ids
from users.audit import queries
from users.audit.queries import EventFilter
from users.storage.lists import paging
from users.storage.models import db


def found(app: Flask, wanted: EventFilter, **more: Any) -> list[str]:
    """Return the ids of a page of events."""
    with app.app_context():
        return [one.id for one in queries.newest(wanted, **more).rows]


def test_filters(app: Flask) -> None:
    first = add_event(app, 1)
    by_key = add_event(app, 2, actor=None, key=KEY)
    other = add_event(app, 3, action="user.deactivate", target=ADA, request="req_87654321")
    assert found(app, EventFilter()) == [other, by_key, first]
    assert found(app, EventFilter(actor_id=ADA)) == [other, first]
    assert found(app, EventFilter(actor_id=KEY)) == [by_key]
    assert found(app, EventFilter(target_id=ADA)) == [other]
    assert found(app, EventFilter(action="user.deactivate")) == [other]
    assert found(app, EventFilter(request_id="req_12345678")) == [by_key, first]
    assert found(app, EventFilter(actor_id=ADA, action="user.create")) == [first]
    assert found(app, EventFilter(actor_id=OMAR)) == []


def test_any_of_several_filters(app: Flask) -> None:
    made = [add_event(app, number, actor=(ADA, OMAR, KEY.replace("akid", "usr"))[number % 3]) for number in range(9)]
    either = [EventFilter(actor_id=ADA), EventFilter(actor_id=OMAR)]
    theirs = [event_id for number, event_id in enumerate(made) if number % 3 < 2][::-1]
    with app.app_context():
        first = queries.newest(*either, limit=4)
        second = queries.newest(*either, limit=4, before=first.older)
        back = queries.newest(*either, limit=4, after=second.newer)
        assert queries.newest().rows == []
    assert [[one.id for one in page.rows] for page in (first, second, back)] == [theirs[:4], theirs[4:], theirs[:4]]
    assert (first.newer, second.older, back.newer) == (None, None, None)


def test_request_ids(app: Flask) -> None:
    ours = add_event(app, 1)
    given = add_event(app, 2, request="req_11111111", client="req_12345678")
    other = add_event(app, 3, request="req_22222222", client="job-2026-11-24")
    assert found(app, EventFilter(request_id="req_12345678")) == [given, ours]
    assert found(app, EventFilter(request_id="req_11111111")) == [given]
    assert found(app, EventFilter(request_id="job-2026-11-24")) == [other]
    assert found(app, EventFilter(request_id="job-2026-11-24"), before=other) == []


def test_times(app: Flask) -> None:
    millisecond = timedelta(milliseconds=1)
    moments = (DAY - millisecond, DAY, DAY + timedelta(days=1) - millisecond, DAY + timedelta(days=1))
    before, first, last, after = (add_event(app, 1, at) for at in moments)
    assert found(app, EventFilter(since=DAY, until=DAY + timedelta(days=1))) == [last, first]
    assert found(app, EventFilter(since=DAY)) == [after, last, first]
    assert found(app, EventFilter(until=DAY)) == [before]


def test_paging_both_ways(app: Flask) -> None:
    made = [add_event(app, number, action="user.create" if number % 2 else "user.deactivate") for number in range(10)]
    wanted = EventFilter(action="user.create")
    newest_first = made[1::2][::-1]
    with app.app_context():
        first = queries.newest(wanted, limit=2)
        second = queries.newest(wanted, limit=2, before=first.older)
        third = queries.newest(wanted, limit=2, before=second.older)
        back = queries.newest(wanted, limit=2, after=third.newer)
    pages = [[one.id for one in page.rows] for page in (first, second, third)]
    assert pages == [newest_first[:2], newest_first[2:4], newest_first[4:]]
    assert [one.id for one in back.rows] == pages[1]
    assert (first.newer, third.older) == (None, None)
    assert (back.newer, back.older) == (second.newer, second.older)


@contextmanager
def statements(app: Flask) -> Iterator[list[tuple[str, Any]]]:
    """Yield a list that collects the SELECTs sent inside."""
    sent: list[tuple[str, Any]] = []

    def note(_c: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if statement.startswith("SELECT audit_events"):
            sent.append((statement, parameters))

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine, "before_cursor_execute", note)


# Many events of that day: one action, one key, each about another user.
_MANY = """
    INSERT INTO audit_events
        (id, at, action, outcome, actor_kind, actor_key_id, target_id, fields, request_id, client_request_id)
    SELECT :day || n, now(), 'user.create', 'ok', 'key', 'akid_other', 'usr_' || n, '[]', 'req_other' || n, 'job-' || n
    FROM generate_series(1, 5000) AS n
"""


@pytest.mark.parametrize("more", [{}, {"before": "evt_02"}, {"after": "evt_00"}], ids=["first", "before", "after"])
@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (EventFilter(), "audit_events"),  # the primary key, by the name that each database gave it
        (EventFilter(since=DAY, until=DAY + timedelta(days=1)), "audit_events"),
        (EventFilter(actor_id=ADA), "ix_audit_events_actor_user_id"),
        (EventFilter(actor_id=KEY), "ix_audit_events_actor_key_id"),
        (EventFilter(action="key.revoke"), "ix_audit_events_action"),
        (EventFilter(target_id=OMAR, since=DAY), "ix_audit_events_target_id"),
        (EventFilter(request_id="req_12345678"), "ix_audit_events_request_id"),
        (EventFilter(request_id="req_12345678"), "ix_audit_events_client_request_id"),
    ],
    ids=["all", "time", "actor", "key", "action", "target", "request", "request of the caller"],
)
def test_pages_use_indexes(app: Flask, wanted: EventFilter, index: str, more: dict[str, str]) -> None:
    with statements(app) as sent:
        found(app, wanted, **more)
    ((statement, parameters),) = sent
    with app.app_context(), db.engine.connect() as connection:
        sqlite = connection.dialect.name == "sqlite"
        if not sqlite:  # Postgres plans by the number of rows; rolled back with the connection
            connection.execute(text(_MANY), {"day": ids.first("evt", DAY)[:-20]})
            connection.execute(text("ANALYZE audit_events"))
        plan = connection.exec_driver_sql(f"EXPLAIN {'QUERY PLAN ' if sqlite else ''}{statement}", parameters)
        told = " ".join(str(value) for row in plan for value in row)
    assert index in told
    if sqlite:
        assert "SCAN" not in told or "USING INDEX" in told
    if wanted.request_id is None:  # one request has few events, which are sorted
        assert "TEMP B-TREE" not in told
        assert "Sort" not in told


@pytest.mark.parametrize("more", [{}, {"before": "evt_02"}, {"after": "evt_00"}], ids=["first", "before", "after"])
def test_several_filters_use_indexes(app: Flask, more: dict[str, Any]) -> None:
    """Each filter reads one page by its index; only those few events are sorted."""
    with app.app_context():
        if db.engine.dialect.name != "sqlite":
            for statement in (_MANY, "ANALYZE audit_events"):
                with db.engine.begin() as connection:
                    connection.execute(text(statement), {"day": ids.first("evt", DAY)[:-20]})
        (plan,) = plans_of(
            lambda: queries.newest(EventFilter(target_id=ADA), EventFilter(target_id=OMAR), **more), "audit_events"
        )
    assert plan.count("ix_audit_events_target_id") == 2
    assert "SCAN audit_events" not in plan
    assert "Seq Scan" not in plan


def export(app: Flask, **asked: Any) -> list[str]:
    """Return the ids of the exported events."""
    with app.app_context():
        return [one.id for one in queries.export(**asked)]


def test_export(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "BATCH_SIZE", 2)
    made = [add_event(app, number, DAY + timedelta(days=number)) for number in range(5)]
    assert export(app) == made
    assert export(app, after=made[1]) == made[2:]
    assert export(app, since=DAY + timedelta(days=3)) == made[3:]
    assert export(app, after=made[1], since=DAY) == made[2:]
    assert export(app, after=made[1], since=DAY + timedelta(days=3)) == made[3:]
    assert export(app, after=made[-1]) == []


def test_export_in_batches(app: Flask) -> None:
    with app.app_context(), db.engine.begin() as connection:
        event_ids = [{"id": f"{ids.first('evt', DAY)[:-20]}7{number:019x}"} for number in range(20_000)]
        columns = "(id, at, action, outcome, actor_kind, fields) VALUES (:id, '2026-01-31', 'user.create', 'ok', 'key'"
        connection.execute(text(f"INSERT INTO audit_events {columns}, '[]')"), event_ids)
    with app.app_context():
        stream = queries.export()
        for _ in range(2000):  # fills the caches
            next(stream)
        tracemalloc.start()
        assert sum(1 for _ in stream) == 18_000
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 8_000_000  # all of them would take 30 MB
    assert len(rows(app, "SELECT id FROM audit_events")) == 20_000
