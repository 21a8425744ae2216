"""At most 20 sessions of a user live, and those that have ended go away."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
from flask import Flask

from support.guessers import Time
from support.people import Cast
from support.sessions import begin_session, browser_with, hashes_of
from support.visitors import signed_in
from users import clock
from users.auth import sessions
from users.auth.sessions import Place
from users.services import cleanup
from users.storage import database
from users.storage.models import User

R = TypeVar("R")


def at_once(acts: Sequence[Callable[[], R]]) -> list[R]:
    """Do all in parallel."""
    with ThreadPoolExecutor(len(acts)) as pool:
        return [one.result() for one in [pool.submit(act) for act in acts]]


@pytest.mark.one_database
def test_the_oldest_ends(app: Flask, cast: Cast) -> None:
    """The twenty-first ends it, for this user alone."""
    oldest, second = (begin_session(app, cast.sam, minutes_ago=minutes) for minutes in (29, 28))
    others = begin_session(app, cast.vera, minutes_ago=29)
    for _ in range(18):
        begin_session(app, cast.sam)
    first, newest = browser_with(app, oldest), begin_session(app, cast.sam)
    assert not first.is_in
    assert len(hashes_of(app, cast.sam)) == sessions.MOST_PER_USER
    assert {second.id_hash, newest.id_hash} <= hashes_of(app, cast.sam)
    assert hashes_of(app, cast.vera) == {others.id_hash}


def test_at_once(app: Flask, cast: Cast) -> None:
    """Parallel sign-ins each end one, and none ends another."""
    for minutes in range(20):
        begin_session(app, cast.sam, minutes_ago=minutes)
    before = hashes_of(app, cast.sam)
    browsers = at_once([lambda: signed_in(app, cast.sam)] * 6)
    after = hashes_of(app, cast.sam)
    assert (len(after), len(after - before)) == (sessions.MOST_PER_USER, 6)
    assert all(browser.is_in for browser in browsers)


@pytest.mark.one_database
def test_expired_ones_count_for_nothing(app: Flask, cast: Cast, time: Time) -> None:
    """A session in use is not ended for newer ones that have expired and still lie in the table."""
    used = browser_with(app, begin_session(app, cast.sam))
    for _ in range(19):
        begin_session(app, cast.sam)
    for _ in range(2):
        time.pass_by(minutes=20)
        assert used.is_in
    begin_session(app, cast.sam)
    assert used.is_in


@pytest.mark.one_database
def test_half_ones_are_counted_apart(app: Flask, cast: Cast) -> None:
    """A thief of the password cannot sign the user out with sessions that await the factor."""
    whole = [begin_session(app, cast.sam, minutes_ago=9) for _ in range(20)]
    half = [begin_session(app, cast.sam, awaits_factor=True) for _ in range(21)]
    left = hashes_of(app, cast.sam)
    assert {one.id_hash for one in whole} | {half[-1].id_hash} < left
    assert len(left) == 2 * sessions.MOST_PER_USER


@pytest.mark.one_database
@pytest.mark.parametrize("other", ["198.51.100.{}", "2001:db8::{}"], ids=["IPv4", "IPv6"])
def test_thief_of_the_password(app: Flask, cast: Cast, other: str) -> None:
    """Sign-ins from one other network end each other, not that of the user, who types the code."""
    mine = begin_session(app, cast.sam, minutes_ago=1, place=Place("192.0.2.7"), awaits_factor=True)
    for number in range(25):
        there = Place(other.format(number if ":" in other else 1))
        newest = begin_session(app, cast.sam, place=there, awaits_factor=True)
    assert {mine.id_hash, newest.id_hash} < hashes_of(app, cast.sam)
    assert len(hashes_of(app, cast.sam)) == sessions.MOST_PER_USER


@pytest.mark.one_database
def test_completed_one_ends_the_oldest(app: Flask, cast: Cast) -> None:
    """Never itself, though it began before all others, and never two."""
    half = begin_session(app, cast.sam, minutes_ago=9, awaits_factor=True)
    whole = [begin_session(app, cast.sam, minutes_ago=8 - number / 10) for number in range(20)]
    with app.app_context(), database.transaction() as session:
        renewed = sessions.renew(session, half, session.get_one(User, cast.sam.id), clock.now(), has_factor=True)
    assert hashes_of(app, cast.sam) == {renewed.id_hash, *(one.id_hash for one in whole[1:])}


@pytest.mark.one_database
def test_clean_up(app: Flask, cast: Cast) -> None:
    """It takes the ended ones of all users; a session that awaits the factor ends after ten minutes."""
    for user in (cast.ada, cast.sam):
        begin_session(app, user, minutes_ago=31)
        begin_session(app, user, minutes_ago=11, awaits_factor=True)
    living = [begin_session(app, cast.sam, minutes_ago=9, awaits_factor=half) for half in (True, False)]
    with app.app_context():
        cleanup.delete_expired()
    assert hashes_of(app, cast.ada) == set()
    assert hashes_of(app, cast.sam) == {one.id_hash for one in living}
