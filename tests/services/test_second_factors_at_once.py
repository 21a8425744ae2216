"""One answer, and acts on second factors, sent at the same time: through several server processes and in threads."""

import threading
import uuid
from collections import Counter
from collections.abc import Callable
from functools import partial
from urllib.parse import urlencode

import pytest
from flask import Flask
from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from support.databases import execute, rows
from support.factors import CONFIRM, FACTOR, FACTORS, App, add_app, begin_app, half_signed_in
from support.four_servers import FourServers, at_once
from support.people import PASSWORD, Cast, as_actor, make_user
from support.second_steps import STRANGE, WRONG_CODE, TwoSteps, half_way
from support.servers import Reply
from support.visitors import LOGIN, Visitor, signed_in
from users.auth import attempt_limits, sessions, signin
from users.auth.sessions import Stage
from users.errors import AuthenticationRequired
from users.form_errors import FactorNotFound, LastFactor
from users.roles import Role
from users.services import second_factors, user_changes
from users.storage import database
from users.storage.models import SecondFactor, User

NEW = "another horse battery"

together = pytest.mark.xdist_group("four")  # they share servers that one worker of xdist starts


def sender(four: FourServers, visitor: Visitor, path: str) -> Callable[..., Reply]:
    """Return what sends a form from this browser to one of the servers."""
    token = visitor.token(path)
    cookies = [visitor.client.get_cookie(name) for name in ("enrol", "enrol-form", "enrol-device")]
    cookie = "; ".join(f"{one.key}={one.value}" for one in cookies if one)

    def send(number: int, **fields: str) -> Reply:
        body = urlencode({"csrf_token": token, **fields})
        lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Cookie: {cookie}", f"Content-Length: {len(body)}"]
        lines += ["Content-Type: application/x-www-form-urlencoded", "", body]
        return four.servers[number % 4].send("\r\n".join(lines).encode())

    return send


def new_user(four: FourServers) -> tuple[User, App]:
    """Return a new user who has an app and recovery codes."""
    user = make_user(four.app, f"{uuid.uuid4().hex}@example.com", Role.AUDITOR)
    return user, add_app(four.app, user)


def audited(four: FourServers, user: User) -> Counter[tuple[str, str]]:
    """Return how often each act on a session of the user ended how."""
    query = "SELECT action, outcome FROM audit_events WHERE target_id = :id AND action LIKE 'session%'"
    return Counter((row.action, row.outcome) for row in rows(four.app, query, id=user.id))


def unexpected(four: FourServers) -> list[str]:
    """Return the logs of the servers that tell of a fault."""
    return [server.log() for server in four.servers if "unexpected_error" in server.log()]


@together
@pytest.mark.parametrize("kind", ["totp", "recovery_code"])
@pytest.mark.parametrize("path", [FACTOR, CONFIRM])
def test_one_code(four: FourServers, path: str, kind: str) -> None:
    """One code in eight parallel requests passes once; the others hear that the session of before has ended."""
    for _ in range(2):
        user, mine = new_user(four)
        visitor, passed = half_signed_in(four.app, user), {("session.create", "ok"): 1}
        if path == CONFIRM:
            data = {"csrf_token": visitor.token(FACTOR), "recovery_code": mine.recovery_codes[1]}
            assert visitor.client.post(FACTOR, data=data).status_code == 303
            passed[("session.confirm", "ok")] = 1
        send = sender(four, visitor, path)
        answer = {"code": mine.code()} if kind == "totp" else {"recovery_code": mine.recovery_codes[0]}
        replies = at_once([partial(send, number, **answer) for number in range(8)])
        assert Counter(reply.status for reply in replies) == {303: 1, 403: 7}
        assert {b"Sign in" in reply.body for reply in replies if reply.status == 403} == {True}
        # After a double click the browser shows the last answer, and keeps the cookie of the first.
        assert {"Set-Cookie" in reply.headers for reply in replies if reply.status == 403} == {False}
        assert audited(four, user) == passed
        assert rows(four.app, "SELECT count(*) FROM admin_sessions WHERE user_id = :id", id=user.id) == [(1,)]
    assert not unexpected(four)


@together
def test_code_in_eight_browsers(four: FourServers) -> None:
    """Eight half sessions that send the same code: one is signed in, the code is wrong for the others."""
    user, mine = new_user(four)
    sends = [sender(four, half_signed_in(four.app, user), FACTOR) for _ in range(8)]
    code = mine.code()
    replies = at_once([partial(send, number, code=code) for number, send in enumerate(sends)])
    assert Counter(reply.status for reply in replies) == {303: 1, 422: 7}
    assert audited(four, user) == {("session.create", "ok"): 1, ("session.create", "refused"): 7}
    assert not unexpected(four)


@together
def test_right_and_wrong_codes(four: FourServers) -> None:
    """At most five are checked. Unless the fifth wrong one came first, the right one passes."""
    for _ in range(3):
        user, mine = new_user(four)
        send = sender(four, half_signed_in(four.app, user), FACTOR)
        codes = [mine.code(), *["000000"] * 7]
        replies = at_once([partial(send, number, code=code) for number, code in enumerate(codes)])
        assert {reply.status for reply in replies} <= {303, 422, 403}
        assert sum(reply.status == 303 for reply in replies) == audited(four, user)[("session.create", "ok")] <= 1
        assert sum(reply.status == 422 for reply in replies) <= 5
        assert audited(four, user)[("session.create", "refused")] <= 5
    assert not unexpected(four)


@together
def test_passwords_and_codes(four: FourServers) -> None:
    """Sign-ins and second steps of one user in parallel: no deadlock, and all succeed."""
    user, mine = new_user(four)
    sends = [sender(four, half_signed_in(four.app, user), FACTOR) for _ in range(4)]
    sign_in = sender(four, Visitor(four.app.test_client()), LOGIN)
    acts = [partial(send, number, recovery_code=mine.recovery_codes[number]) for number, send in enumerate(sends)]
    acts += [partial(sign_in, number, email=user.email, password=PASSWORD) for number in range(4)]
    replies = at_once(acts)
    assert Counter(reply.status for reply in replies) == {303: 8}
    assert max(reply.seconds for reply in replies) < 10  # Postgres needs a second to find each deadlock
    assert audited(four, user) == {("session.create", "ok"): 4}
    assert not unexpected(four)


def test_sign_in_beside_the_first_factor(app: Flask, cast: Cast) -> None:
    """A sign-in that waits while the first factor begins to count awaits that factor.

    On Postgres the statement that waited for the user's row would still see the factors of before.
    """
    begin_app(app, cast.ada)
    steps = TwoSteps(app, cast.ada)
    signing_in = threading.Thread(target=steps.give_password)
    with app.app_context(), database.transaction() as session:
        session.get_one(User, cast.ada.id, with_for_update=True)
        signing_in.start()
        signing_in.join(0.4)
        assert signing_in.is_alive(), "it waits for the lock"
        session.execute(update(SecondFactor).values(active_since=cast.ada.created_at))
    signing_in.join(60)
    assert steps.session.stage is Stage.FACTOR
    assert steps.session.has_factor


def run_at_once(app: Flask, acts: list[Callable[[], object]]) -> list[str]:
    """Do the acts in parallel, and return how each ended: "" or the name of its error."""
    start, outcomes = threading.Barrier(len(acts)), [""] * len(acts)

    def run(number: int) -> None:
        start.wait()
        try:
            with app.app_context():
                acts[number]()
        except (AuthenticationRequired, FactorNotFound, LastFactor) as error:
            outcomes[number] = type(error).__name__

    threads = [threading.Thread(target=run, args=[number]) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return outcomes


@pytest.mark.parametrize("settings", [{"ENROL_REQUIRE_SECOND_FACTOR": "administrators"}])
def test_two_administrators(app: Flask, cast: Cast) -> None:
    """Two administrators reset each other: each reset is audited, and both can sign in and add a factor."""
    grace = make_user(app, "grace@example.com", Role.ADMIN)
    for number in range(4):
        pair = []
        for user in (cast.ada, grace):
            steps, mine = TwoSteps(app, user, ip_address=f"192.0.2.{number}"), add_app(app, user)
            assert steps.give_password() == "in"
            assert steps.answer(mine.code()) == "in"
            pair.append(steps.actor.signed_in_as(user.id, steps.session.permissions, steps.session.id_hash))
        resets = [
            partial(second_factors.reset, grace.id, actor=pair[0]),
            partial(second_factors.reset, cast.ada.id, actor=pair[1]),
        ]
        execute_before = count(app, "factor.reset")
        outcomes = run_at_once(app, [*resets])
        # The second one's session has ended by then, or both were checked before either was done.
        assert outcomes.count("") >= 1
        assert set(outcomes) <= {"", "SessionEnded"}
        assert count(app, "factor.reset") - execute_before == outcomes.count("")
        for user, outcome in ((grace, outcomes[0]), (cast.ada, outcomes[1])):
            steps = TwoSteps(app, user)
            assert steps.give_password() == "in"
            assert steps.session.stage is (Stage.FACTOR if outcome else Stage.ENROLMENT)
        execute(app, "DELETE FROM second_factors")


def count(app: Flask, action: str) -> int:
    """Return how often this act was done."""
    ((number,),) = rows(app, "SELECT count(*) FROM audit_events WHERE action = :action", action=action)
    return int(number)


@pytest.mark.parametrize("settings", [{"ENROL_REQUIRE_SECOND_FACTOR": "administrators"}])
def test_last_two_factors(app: Flask, cast: Cast) -> None:
    """Of the last two factors, removed at the same time, one stays where one is required."""
    first, second, actor = add_app(app, cast.ada), begin_app(app, cast.ada), as_actor(app, cast.ada)
    with app.app_context():
        second_factors.prove_app(second.factor_id, second.code_at(0), "", actor=actor)
    acts = [partial(second_factors.remove, one.factor_id, actor=actor) for one in (first, second)]
    assert sorted(run_at_once(app, [*acts])) == ["", "LastFactor"]
    assert rows(app, "SELECT count(*) FROM recovery_codes") == [(10,)]


def test_activated_twice(app: Flask, cast: Cast) -> None:
    """A double click lets the factor count once, and one session goes on."""
    steps = TwoSteps(app, cast.ada)
    assert steps.give_password() == "in"
    mine, actor = begin_app(app, cast.ada), as_actor(app, cast.ada)
    with app.app_context():
        second_factors.prove_app(mine.factor_id, mine.code_at(0), "", actor=actor)
    act = partial(second_factors.activate, steps.session, mine.factor_id, actor=actor)
    assert sorted(run_at_once(app, [act] * 4)) == ["", *["SessionEnded"] * 3]
    assert count(app, "factor.create") == 1
    assert rows(app, "SELECT count(*) FROM admin_sessions") == [(1,)]


def test_renamed_while_removed(app: Flask, cast: Cast) -> None:
    """A new name for a factor that another browser removes meanwhile finds no factor."""
    mine, actor, outcomes = add_app(app, cast.ada), as_actor(app, cast.ada), list[str]()

    def rename() -> None:
        outcomes.extend(run_at_once(app, [partial(second_factors.rename, mine.factor_id, "Phone", actor=actor)]))

    renaming = threading.Thread(target=rename)
    with app.app_context(), database.transaction() as session:
        session.execute(delete(SecondFactor))
        renaming.start()
        renaming.join(0.4)
        assert renaming.is_alive(), "it waits for the lock"
    renaming.join(60)
    assert outcomes == ["FactorNotFound"]


def test_begun_while_reset(app: Flask, cast: Cast) -> None:
    """A new factor that waits while another user's reset ends the session is not added."""
    browser, statuses = signed_in(app, cast.ada), list[int]()
    token = browser.token(FACTORS)

    def begin() -> None:
        statuses.append(browser.client.post(f"{FACTORS}/app", data={"csrf_token": token}).status_code)

    beginning = threading.Thread(target=begin)
    with app.app_context(), database.transaction() as session:
        session.get_one(User, cast.ada.id, with_for_update=True)
        beginning.start()
        beginning.join(0.4)
        assert beginning.is_alive(), "it waits for the lock"
        sessions.end_all(session, cast.ada.id)
    beginning.join(60)
    assert statuses == [403]
    assert rows(app, "SELECT 1 FROM second_factors") == []


def test_begun_at_once(app: Flask, cast: Cast) -> None:
    """Of apps begun at the same time one is left."""
    actor = as_actor(app, cast.ada)
    assert run_at_once(app, [partial(second_factors.begin_app, actor=actor)] * 4) == [""] * 4
    assert rows(app, "SELECT count(*) FROM second_factors") == [(1,)]


def test_many_half_sessions_at_once(app: Flask, cast: Cast) -> None:
    """No more than 20 of a user are left."""
    add_app(app, cast.ada)
    browsers = [TwoSteps(app, cast.ada) for _ in range(24)]
    for number in range(0, 24, 6):
        run_at_once(app, [browser.give_password for browser in browsers[number : number + 6]])
    assert rows(app, "SELECT count(*) FROM admin_sessions") == [(sessions.MOST_PER_USER,)]
    assert half_way(app, cast.ada).found


@pytest.mark.parametrize("by", ["themselves", "another"])
def test_new_password_beside_a_code(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    """A code that arrives while the password is set is refused with its session. Both lock the session first."""
    add_app(app, cast.ada)
    steps, actor = half_way(app, cast.ada), as_actor(app, cast.ada)
    assert steps.answer(WRONG_CODE) == "wrong"  # from now on there are counters
    outcomes: list[str] = []
    answering = threading.Thread(target=lambda: outcomes.append(steps.answer(WRONG_CODE)))
    unlock = attempt_limits.unlock

    def unlock_slowly(session: Session, user: User) -> bool:
        found = unlock(session, user)
        answering.start()
        answering.join(0.4)
        return found

    monkeypatch.setattr(attempt_limits, "unlock", unlock_slowly)
    with app.app_context():
        if by == "another":
            user_changes.set_password(cast.ada.id, NEW, actor=actor)
        else:
            signin.change_password(cast.ada, PASSWORD, NEW, device=STRANGE, actor=actor)
    answering.join(60)
    assert outcomes == ["ended"]
