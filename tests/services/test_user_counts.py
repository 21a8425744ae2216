"""The counts of all users, for the overview."""

import re
from functools import partial

import pytest
from flask import Flask

from support import population
from support.databases import execute, plans_of, rows
from users.services.lists import counts
from users.storage.lists.paging import Count
from users.storage.models import Status, segments


@pytest.fixture
def crowd(app: Flask, database_url: str) -> Flask:
    """The application with 3,000 users."""
    population.populate(database_url, 3_000)
    return app


def test_counts_by_segment(crowd: Flask) -> None:
    with crowd.app_context():
        found = counts.counts_by_segment()
    real = {
        row.segment: row.number for row in rows(crowd, "SELECT segment, count(*) AS number FROM users GROUP BY segment")
    }
    assert found == {segment: Count(real.get(segment, 0)) for segment in segments()}
    assert counts.total(found, segments()) == Count(3_000)
    assert counts.total(found, segments([Status.DELETED])) == Count(15)


def test_counts_stop(crowd: Flask) -> None:
    with crowd.app_context():
        found = counts.counts_by_segment(100)
    assert {count.number for count in found.values() if count.many} == {100}
    assert counts.total(found, segments(), 100) == Count(100, many=True)
    assert counts.total({1: Count(60), 2: Count(60)}, [1, 2], 100) == Count(100, many=True)
    assert counts.total({1: Count(60), 2: Count(40)}, [1, 2], 100) == Count(100)


def test_never_signed_in(crowd: Flask) -> None:
    active = "SELECT id, last_login FROM users WHERE is_active ORDER BY id DESC"
    never = [last_login is None for _, last_login in rows(crowd, active)]
    with crowd.app_context():
        assert counts.never_signed_in() == Count(sum(never))
        assert counts.never_signed_in(700) == Count(sum(never[:700]), many=True)


def test_one_query_by_an_index(crowd: Flask) -> None:
    execute(crowd, "ANALYZE users")
    for count in (counts.counts_by_segment, counts.never_signed_in):
        with crowd.app_context():
            (plan,) = plans_of(partial(count, 100))  # few of all
        assert not re.search(r"Seq Scan on users|SCAN users(?! USING)|TEMP B-TREE", plan)
        assert plan.count("ix_users_segment_") >= 4
