"""The hash queue: limited slots and places, an immediate refusal of all others, and no wait without a hash."""

import _thread
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from support.api import Api
from support.application import app_on
from support.crowd import Work, ask, run, taken, waiting
from support.databases import execute, rows
from support.installations import Installation, installed
from support.page_forms import fields_of
from support.password_links import invite, opened, send
from support.people import PASSWORD, Cast, make_key
from support.servers import REPOSITORY
from support.visitors import NEW_USER, Visitor, summary_in
from users.errors import Overloaded
from users.passwords import argon2id, hash_queue
from users.passwords.hash_queue import HashQueue, Share
from users.roles import Permission


def test_slots_queue_and_refusals(callers: ThreadPoolExecutor, work: Work) -> None:
    """Slots run, the queue waits, and all others are refused at once."""
    queue = HashQueue(2, 3)
    asked = [ask(callers, queue, work, number) for number in range(5)]
    work.wait_for(2)
    for _ in range(20):
        start = time.monotonic()
        with pytest.raises(Overloaded) as refused:
            run(queue, work, 99)
        assert time.monotonic() - start < 2
    assert refused.value.headers["Retry-After"] == "2"
    assert len(work.begun) == 2
    work.end()
    assert [one.result(10) for one in asked] == [0, 1, 2, 3, 4]
    assert work.most == 2
    assert 99 not in work.begun


def test_limits_under_a_crowd(callers: ThreadPoolExecutor) -> None:
    """A crowd never exceeds slots and queue."""
    queue, lock, now, most = HashQueue(3, 4), threading.Lock(), 0, 0

    def brief() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.005)
        with lock:
            now -= 1

    together = threading.Barrier(64)

    def come() -> bool:
        together.wait()
        try:
            run(queue, brief)
        except Overloaded:
            return False
        return True

    let_in = [one.result(20) for one in [callers.submit(come) for _ in range(64)]]
    assert most <= 3
    assert sum(let_in) >= 7
    assert taken(queue) == 0


def test_first_come_first_served(callers: ThreadPoolExecutor, work: Work) -> None:
    queue = HashQueue(1, 20)
    asked = [ask(callers, queue, work, number) for number in range(21)]
    work.end()
    assert [one.result(10) for one in asked] == list(range(21))
    assert work.begun == list(range(21))


def test_wait_limit(callers: ThreadPoolExecutor, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that waited too long is refused and leaves the queue."""
    assert hash_queue.WAIT_SECONDS == 5
    monkeypatch.setattr(hash_queue, "WAIT_SECONDS", 0.2)
    queue = HashQueue(1, 1)
    running, late = (ask(callers, queue, work, number) for number in range(2))
    assert isinstance(late.exception(10), Overloaded)
    assert not running.done(), "what has begun is never given up"
    later = ask(callers, queue, work, 2)  # its place is free again
    work.end()
    assert (running.result(10), later.result(10)) == (0, 2)
    assert work.begun == [0, 2], "nobody waits for it any more: it is not begun"


@pytest.mark.parametrize(
    ("error", "told"),
    [(ValueError, ValueError), (TimeoutError, TimeoutError), (RuntimeError, RuntimeError), (MemoryError, Overloaded)],
)
def test_failed_work_frees_its_slot(error: type[Exception], told: type[Exception]) -> None:
    queue = HashQueue(1, 0)

    def fail() -> None:
        raise error

    for _ in range(3):
        with pytest.raises(told):
            run(queue, fail)
    assert run(queue, str, 5) == "5"


@contextmanager
def no_thread_to_give() -> Iterator[None]:
    """A system that starts no thread for a queue."""

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_thread, "start_new_thread", refuse)
        yield


def test_no_thread(callers: ThreadPoolExecutor, work: Work) -> None:
    """Without a thread the queue is overloaded and keeps nothing."""
    queue = HashQueue(2, 1)
    with no_thread_to_give():
        for number in range(10):
            with pytest.raises(Overloaded):
                run(queue, work, number)
    assert (waiting(queue), taken(queue)) == (0, 0)
    asked = [ask(callers, queue, work, number) for number in range(10, 12)]
    work.wait_for(2)  # both slots are there again
    work.end()
    assert [one.result(10) for one in asked] == [10, 11]


def test_no_second_thread(callers: ThreadPoolExecutor, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a second thread the queue works with the first."""
    monkeypatch.setattr(hash_queue, "WAIT_SECONDS", 0.1)
    queue = HashQueue(2, 1)
    running = ask(callers, queue, work, 0)
    work.wait_for(1)
    with no_thread_to_give():
        for number in range(1, 11):
            asked = [callers.submit(run, queue, work, number) for _ in range(3)]
            assert [type(one.exception(10)) for one in asked] == [Overloaded] * 3
    later = ask(callers, queue, work, 11)
    work.wait_for(2)
    work.end()
    assert (running.result(10), later.result(10)) == (0, 11)
    assert work.begun == [0, 11], "nobody waits for the others"
    assert work.most == 2
    assert taken(queue) == 0


def test_threads_end_with_their_queue() -> None:
    queue = HashQueue(2)
    run(queue, str)
    slots = queue.workers.slots
    assert len(slots) == 1
    del queue
    assert len(slots) == 0


def test_process_end_waits_for_a_hash() -> None:
    """The process ends only when no hash writes to its memory."""
    program = """
import os, signal, threading
from users.passwords import argon2id, hash_queue
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
with hash_queue.HashQueue(1).place(hash_queue.Share.TYPED) as place:
    place.run(lambda: argon2id.hash_of(b"password", argon2id.HashParameters.read("m=131072,t=8,p=1")))
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (-signal.SIGINT, "KeyboardInterrupt")


@pytest.fixture
def busy(app: Flask, work: Work, callers: ThreadPoolExecutor) -> None:
    """The application with all places of its hash queue taken."""
    queue: HashQueue = app.extensions["enrol.hasher"]._queue
    for share in Share:
        for number in range(queue.places_of(share)):
            ask(callers, queue, work, number, share)


@pytest.mark.parametrize("settings", [{"ENROL_HASH_SLOTS": "1", "ENROL_HASH_QUEUE": "2"}])
class TestWhenEveryPlaceIsTaken:
    """The responses of the doors, and the requests that do not need a hash."""

    @pytest.fixture(autouse=True)
    def _signed_in(self, api: Api, ada: Visitor, busy: None) -> None:
        """Make the fixtures that need a hash before the crowd comes."""

    def test_create_is_503(self, app: Flask, api: Api) -> None:
        """A create is 503 and makes no user."""
        before = rows(app, "SELECT count(*) FROM users")
        answer = api.create()
        assert answer.status_code == 503
        assert answer.json["error"]["code"] == "OVERLOADED"
        assert answer.json["error"]["type"] == "server_error"
        assert answer.headers["Retry-After"] == "2"
        assert rows(app, "SELECT count(*) FROM users") == before

    def test_form_comes_back(self, ada: Visitor) -> None:
        """The form comes back as it was filled in."""
        page = ada.create(email="jo@example.com", first_name="Jo")
        assert (page.status_code, page.headers["Retry-After"]) == (503, "2")
        assert "The service is busy. Try again in a few seconds." in summary_in(page)
        assert 'value="jo@example.com"' in page.text
        assert PASSWORD not in page.text

    def test_password_link_comes_back(self, app: Flask, visitor: Visitor) -> None:
        """The form comes back with its link, which is not used up."""
        with app.app_context():
            page = opened(visitor, invite())
        again = send(visitor, page)
        assert (again.status_code, again.headers["Retry-After"]) == (503, "2")
        assert "The service is busy. Try again in a few seconds." in summary_in(again)
        assert fields_of(again) == fields_of(page)

    def test_order_of_checks(self, app: Flask, api: Api) -> None:
        """A full queue is reported after the checks of the caller and before those of the body."""
        narrow = make_key(app, Permission.USERS_READ)
        for key, headers, status in [
            ("ak_wrong", {}, 401),
            (narrow, {}, 403),
            ("own", {"Idempotency-Key": " "}, 400),
            ("own", {"Idempotency-Key": "7c1b8a6e"}, 422),  # its answer may be stored already
            ("own", {}, 503),
        ]:
            answer = api.call("POST", "/v1/user/", key=key, headers=headers, json={"email": "jo"})
            assert answer.status_code == status

    def test_sign_in_is_503(self, app: Flask, visitor: Visitor) -> None:
        """A sign-in is 503 and writes nothing."""
        execute(app, "DELETE FROM throttles")
        for _ in range(15):
            assert visitor.sign_in("ada@example.com").status_code == 503
        assert rows(app, "SELECT * FROM throttles") == []

    def test_no_hash_no_wait(self, api: Api, ada: Visitor, visitor: Visitor, cast: Cast) -> None:
        """A request that needs no hash does not wait."""
        start = time.monotonic()
        assert api.get(f"/v1/user/{cast.ada.id}").status_code == 200
        assert api.call("POST", "/v1/user/", key="ak_wrong", json={}).status_code == 401
        assert api.call("POST", "/v1/user/?validate_only=true", json={"email": "jo"}).status_code == 422
        for path in ("/admin/users", NEW_USER, "/admin/keys"):
            assert ada.get(path).status_code == 200
        assert visitor.get("/admin/login").status_code == 200
        assert time.monotonic() - start < 4  # each of them takes some milliseconds


@pytest.mark.parametrize("settings", [{"ENROL_HASH_SLOTS": "1", "ENROL_HASH_QUEUE": "0"}])
def test_command_line_is_never_overloaded(
    runner: FlaskCliRunner,
) -> None:
    for number in range(5):
        command = ["users", "create", f"jo{number}@example.com", "--generate-password"]
        assert runner.invoke(args=command).exit_code == 0


def test_all_hashes_use_the_queue(
    app: Flask, ada: Visitor, api: Api, runner: FlaskCliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    slots = app.extensions["enrol.hasher"]._queue.workers.slots

    def noting(name: str) -> None:
        real = getattr(argon2id, name)

        def noted(*arguments: object, **more: object) -> object:
            threads.append(threading.get_ident())
            return real(*arguments, **more)

        monkeypatch.setattr(argon2id, name, noted)

    noting("hash_of")
    noting("is_hash_of")
    assert api.create().status_code == 201
    assert ada.sign_in("ada@example.com").status_code == 303
    new = {"current_password": PASSWORD, "password": "another horse battery"}
    assert ada.post("/account", **new).status_code == 303
    assert runner.invoke(args=["users", "set-password", "jo@example.com", "--generate-password"]).exit_code == 0
    runner.invoke(args=["doctor"])
    assert len(threads) > 6
    assert set(threads) <= {slot.thread for slot in slots}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the threads of a process have one priority")
def test_hash_threads_have_a_lower_priority() -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    theirs = run(HashQueue(1), os.getpriority, os.PRIO_PROCESS, 0)
    assert theirs == min(19, own + hash_queue.NICENESS)
    assert os.getpriority(os.PRIO_PROCESS, 0) == own


@pytest.fixture
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with one slot, whose hashes take a fifth of a second."""
    given = {"ENROL_PASSWORD_HASH": "m=65536,t=6,p=1", "ENROL_HASH_SLOTS": "1", "ENROL_HASH_QUEUE": "4"}
    with installed(tmp_path_factory.mktemp("slow") / "enrol", given) as made:
        yield made


def test_server_under_sign_ups(slow: Installation, callers: ThreadPoolExecutor) -> None:
    """A server full of sign-ups refuses the surplus at once and answers reads."""
    (server,) = slow.start("granian")
    with app_on(slow) as app:
        key = make_key(app, Permission.USERS_CREATE, Permission.USERS_READ)

    def create(number: int) -> tuple[int, float]:
        body = {"email": f"jo{number}@example.com", "password": PASSWORD}
        reply = server.call("POST", "/v1/user/", key=key, body=body)
        return reply.status, reply.seconds

    creates = [callers.submit(create, number) for number in range(30)]
    time.sleep(0.2)
    reads = [server.call("GET", "/v1/user/me", key=key) for _ in range(10)]
    answers = [one.result(30) for one in creates]
    assert {status for status, _ in answers} == {201, 503}
    refused = sorted(seconds for status, seconds in answers if status == 503)
    assert refused[len(refused) // 2] < 1
    assert {read.status for read in reads} == {404}  # the key has no owner
    assert sorted(read.seconds for read in reads)[5] < 0.5
