"""The shares of the hash queue: a flood of one share does not starve the others."""

import contextlib
import itertools
import re
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask

from support.api import Answer, Api
from support.application import app_on
from support.crowd import Work, ask, run
from support.databases import rows
from support.installations import installed
from support.people import PASSWORD, Cast, make_key
from support.servers import Server
from support.visitors import LOGIN, Visitor
from users.errors import Overloaded
from users.passwords.hash_queue import HashQueue, Share
from users.roles import Permission

pytestmark = pytest.mark.one_database

BOTH_WAYS = [(Share.TYPED, Share.CREATE), (Share.CREATE, Share.TYPED)]


@pytest.mark.parametrize(("flooded", "other"), BOTH_WAYS)
def test_shares_take_turns(callers: ThreadPoolExecutor, work: Work, flooded: Share, other: Share) -> None:
    """Shares that wait are served in turn."""
    queue = HashQueue(1, 6)
    asked = [ask(callers, queue, work, 0, flooded)]
    work.wait_for(1)
    asked += [ask(callers, queue, work, number, flooded) for number in range(1, 7)]
    asked += [ask(callers, queue, work, number, other) for number in range(10, 13)]
    work.end()
    for one in asked:
        one.result(10)
    assert work.begun == [0, 10, 1, 11, 2, 12, 3, 4, 5, 6]


def test_one_turn_of_bulk_after_three_of_another_share(callers: ThreadPoolExecutor, work: Work) -> None:
    """Many users at once leave three quarters of the work to those who create one."""
    queue = HashQueue(1, 12)
    asked = [ask(callers, queue, work, 0, Share.BULK)]
    work.wait_for(1)
    asked += [ask(callers, queue, work, number, Share.BULK) for number in range(1, 4)]
    asked += [ask(callers, queue, work, number, Share.CREATE) for number in range(10, 18)]
    work.end()
    for one in asked:
        one.result(10)
    assert work.begun == [0, 10, 11, 12, 1, 13, 14, 15, 2, 16, 17, 3]


def test_places_of_bulk() -> None:
    """Each is for a batch of passwords, and holds a thread of the server for as long."""
    queue = HashQueue(2, 16)
    assert [queue.places_of(share) for share in Share] == [18, 18, 18, 6]
    with contextlib.ExitStack() as places:
        for _ in range(6):
            places.enter_context(queue.place(Share.BULK))
        with pytest.raises(Overloaded):
            queue.require_place(Share.BULK)


@pytest.mark.parametrize(("flooded", "other"), BOTH_WAYS)
def test_full_share(flooded: Share, other: Share) -> None:
    """A full share takes no place of the other."""
    queue = HashQueue(2, 3)
    with contextlib.ExitStack() as places:
        for share in (flooded, other):
            for _ in range(5):
                places.enter_context(queue.place(share))
            for refused in (queue.require_place, lambda share: places.enter_context(queue.place(share))):
                with pytest.raises(Overloaded):
                    refused(share)
    for share in Share:
        queue.require_place(share)


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize(("flooded", "other"), BOTH_WAYS)
def test_flood_of_one_share(callers: ThreadPoolExecutor, flooded: Share, other: Share, slots: int) -> None:
    """A flood of one share leaves half of the work to the other. A busy machine may stop the other for a while."""
    limit = 1.5 * 60 * slots
    assert any(0 < _done_by_a_flood(callers, flooded, other, slots) < limit for _ in range(3))


def _done_by_a_flood(callers: ThreadPoolExecutor, flooded: Share, other: Share, slots: int) -> int:
    """Return how much of the flooded share was done while the other did 60 for each slot."""
    queue, over, done = HashQueue(slots, 4), threading.Event(), Counter[Share]()

    def flood() -> None:
        while not over.is_set():
            try:
                run(queue, time.sleep, 0.002, share=flooded)
                done[flooded] += 1
            except Overloaded:
                time.sleep(0.001)

    def go_on() -> None:
        for _ in range(30):
            run(queue, time.sleep, 0.002, share=other)  # Overloaded would end it

    floods = [callers.submit(flood) for _ in range(4 * slots)]
    try:
        for one in [callers.submit(go_on) for _ in range(2 * slots)]:
            one.result(20)
        meanwhile = done[flooded]
    finally:
        over.set()
    for one in floods:
        one.result(20)
    return meanwhile


def sign_in(_: Api, ada: Visitor, __: str) -> Answer:
    """Sign in."""
    return Visitor(ada.client.application.test_client()).sign_in("omar@example.com")


def verify(api: Api, _: Visitor, __: str) -> Answer:
    """Verify a password for another application."""
    return api.call("POST", "/v1/user/verify-password", json={"email": "sam@example.com", "password": PASSWORD})


def change_own_password(_: Api, ada: Visitor, __: str) -> Answer:
    """Change one's own password at the page."""
    return ada.post("/account", current_password=PASSWORD, password="another horse battery")


def set_password(_: Api, ada: Visitor, user_id: str) -> Answer:
    """Set another user's password at the page."""
    return ada.post(f"/admin/users/{user_id}/password", choice="type", password="another horse battery")


def patch(api: Api, _: Visitor, user_id: str) -> Answer:
    """Set a user's password with an API key."""
    return api.call("PATCH", f"/v1/user/{user_id}", json={"password": "another horse battery"})


def create_repeatably(api: Api, _: Visitor, __: str) -> Answer:
    """Create a user under an Idempotency-Key."""
    return api.call(
        "POST", "/v1/user/", json={"email": "jo@example.com", "password": PASSWORD}, headers={"Idempotency-Key": "one"}
    )


ACTS: list[tuple[Share, Callable[[Api, Visitor, str], Answer], int]] = [
    (Share.CREATE, lambda api, _, __: api.create(), 201),
    (Share.CREATE, create_repeatably, 201),
    (Share.CREATE, patch, 200),
    (Share.KNOWN, lambda _, ada, __: ada.create(), 303),
    (Share.KNOWN, set_password, 303),
    (Share.KNOWN, change_own_password, 303),
    (Share.TYPED, sign_in, 303),
    (Share.TYPED, verify, 200),
]


@pytest.mark.parametrize(("share", "act", "status"), ACTS)
def test_share_of_each_act(
    app: Flask, ada: Visitor, cast: Cast, share: Share, act: Callable[[Api, Visitor, str], Answer], status: int
) -> None:
    """Programs, known people and all others each have a share."""
    api = Api(app.test_client(), make_key(app, *Permission))
    queue: HashQueue = app.extensions["enrol.hasher"]._queue
    others = set(Share) - {share}
    before = everything(app)
    with full(queue, share):
        assert act(api, ada, cast.sam.id).status_code == 503
    assert everything(app) == before, "nothing is written before there is a place"
    with contextlib.ExitStack() as stack:
        for other in others:
            stack.enter_context(full(queue, other))
        assert act(api, ada, cast.sam.id).status_code == status


@contextlib.contextmanager
def full(queue: HashQueue, share: Share) -> Iterator[None]:
    """Take all places of the share."""
    with contextlib.ExitStack() as places:
        for _ in range(queue.places_of(share)):
            places.enter_context(queue.place(share))
        yield


def everything(app: Flask) -> list[object]:
    """Return all rows that an act could have written."""
    tables = ("users", "throttles", "audit_events", "idempotency_records")
    return [sorted(map(tuple, rows(app, f"SELECT * FROM {table}")), key=str) for table in tables]


@pytest.fixture
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """A server with one slot and slow hashes, and a key that may create users."""
    given = {"ENROL_PASSWORD_HASH": "m=19456,t=5,p=1", "ENROL_HASH_SLOTS": "1", "ENROL_HASH_QUEUE": "4"}
    with installed(tmp_path_factory.mktemp("attacked") / "enrol", {**given, "ENROL_TRUSTED_PROXIES": "1"}) as made:
        (server,) = made.start("granian")
        with app_on(made) as app:
            key = make_key(app, Permission.USERS_CREATE)
        yield server, key


def test_strangers_do_not_starve_creation(attacked: tuple[Server, str], callers: ThreadPoolExecutor) -> None:
    server, key = attacked
    guess, numbers, statuses, over = stranger(server), itertools.count(), Counter[int](), threading.Event()

    def flood() -> None:
        while not over.is_set():
            status = guess(next(numbers))
            statuses[status] += 1
            over.wait(0.1 if status == 503 else 0)

    def create_until(end: float) -> Iterator[int]:
        while time.monotonic() < end:
            body = {"email": f"jo{next(numbers)}@example.com", "password": PASSWORD}
            yield server.call("POST", "/v1/user/", key=key, body=body).status

    floods = [callers.submit(flood) for _ in range(12)]
    try:
        time.sleep(0.5)
        assert statuses[503], "there are more of them than places"
        before, end = statuses[422], time.monotonic() + 2
        clients = [callers.submit(lambda: list(create_until(end))) for _ in range(3)]
        created = [status for one in clients for status in one.result(20)]
        judged = statuses[422] - before
    finally:
        over.set()
    for one in floods:
        one.result(20)
    assert set(created) == {201}
    assert len(created) > judged / 2 > 0, "in turn, each share has half of the slot"
    assert set(statuses) == {422, 503}


def stranger(server: Server) -> Callable[[int], int]:
    """Return a function that sends a wrong password, each time for another account and from another network."""
    with contextlib.closing(server.keep()) as connection:
        connection.request("GET", LOGIN)
        page = connection.getresponse()
        (token,) = re.findall(r'name="csrf_token" value="([^"]+)"', page.read().decode())
    cookie = (page.headers["Set-Cookie"] or "").partition(";")[0]

    def guess(number: int) -> int:
        form = {"email": f"nobody{number}@example.com", "password": "wrong horse battery", "csrf_token": token}
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Cookie": cookie,
            "X-Forwarded-For": f"192.0.{number >> 8 & 255}.{number & 255}",
        }
        with contextlib.closing(server.keep()) as connection:
            connection.request("POST", LOGIN, urllib.parse.urlencode(form), headers)
            return connection.getresponse().status

    return guess
