"""A wrong password, with and without a second factor, no password and no user: the same answer after the same work.

`tests/bench/equal_time.py` measures the time. This counts what takes time: it is never slow by chance. `test_signin`
compares every byte of the answers.
"""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event

from support.api import Api
from support.databases import execute
from support.factors import add_app
from support.foreign_hashes import B64, argon2, bcrypt_of, give_hash
from support.password_links import invite
from support.people import PASSWORD, Cast, make_key
from support.visitors import LOGIN, Visitor, problems_in
from users.auth import decoys
from users.passwords import argon2id, foreign
from users.passwords.argon2id import HashParameters
from users.roles import Permission
from users.storage.models import db

WRONG = "wrong horse battery"
# The email and the password of each try: the last one is of a user who may not sign in.
TRIES = {
    "wrong password": ("ada@example.com", WRONG),
    "with a factor": ("vera@example.com", WRONG),
    "unknown": ("nobody@example.com", WRONG),
    "no password": ("jo@example.com", WRONG),
    "must change": ("omar@example.com", WRONG),
    "deactivated": ("sam@example.com", PASSWORD),
}


@pytest.fixture
def work(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements and the hashes since the last look."""
    done: list[str] = []
    check = argon2id.is_hash_of

    def count(known: str, given: bytes) -> bool:
        done.append(known.rpartition("$")[0].rpartition("$")[0])
        return check(known, given)

    with app.app_context():
        invite("jo@example.com")
    add_app(app, cast.vera)
    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", lambda *given: done.append(given[2]))
    execute(app, "UPDATE users SET is_active = false WHERE email = 'sam@example.com'")
    execute(app, "UPDATE users SET password_change_required = true WHERE email = 'omar@example.com'")
    monkeypatch.setattr(argon2id, "is_hash_of", count)
    note_foreign(done, monkeypatch)
    return done


def note_foreign(done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Note in `done` the make of each hash of another system that is tried, and each hash that is made."""
    matches, make = foreign.matches, argon2id.hash_of

    def try_foreign(text: str, password: str) -> bool:
        done.extend([foreign.judge(text).make, *["form"] * len(foreign.forms(password))])
        return matches(text, password)

    def make_ours(given: bytes, parameters: HashParameters) -> str:
        done.append("made")
        return make(given, parameters)

    monkeypatch.setattr(foreign, "matches", try_foreign)
    monkeypatch.setattr(argon2id, "hash_of", make_ours)


def same_work(work: list[str], attempt: Callable[[str, str], Any]) -> None:
    """Try each of TRIES and compare what was done and what was answered."""
    attempt(*TRIES["unknown"])  # the first one sees the schema
    found = {}
    for name, given in TRIES.items():
        work.clear()
        answer = attempt(*given)
        found[name] = answer, list(work)
    assert [one for one in found["unknown"][1] if one.startswith("$argon2id")] == ["$argon2id$v=19$m=8,t=1,p=1"]
    for name, (answer, done) in found.items():
        assert answer == found["unknown"][0], name
        assert done == found["unknown"][1], name


def test_sign_in(visitor: Visitor, work: list[str]) -> None:
    token = visitor.token(LOGIN)

    def attempt(email: str, password: str) -> tuple[int, list[tuple[str, str]]]:
        answer = visitor.post(LOGIN, token=token, email=email, password=password)
        return answer.status_code, problems_in(answer)

    same_work(work, attempt)


def test_verify_password(app: Flask, work: list[str]) -> None:
    api = Api(app.test_client(), make_key(app, *Permission))

    def attempt(email: str, password: str) -> tuple[int, bytes]:
        body = {"email": email, "password": password}
        answer = api.call("POST", "/v1/user/verify-password", json=body)
        return answer.status_code, answer.data

    same_work(work, attempt)


MADE_ELSEWHERE = {
    "bcrypt-08": bcrypt_of(),
    "argon2id-4096-1-1": argon2("m=4096,t=1,p=1"),
    "argon2id-4096-1-2": f"argon2{argon2('m=4096,t=1,p=2')}",  # Django's
    "argon2i-4096-1-1": f"argon2{argon2('m=4096,t=1,p=1', kind='i')}",
    "pbkdf2-sha1-10000x4": f"$pbkdf2$10000${B64}${'A' * 86}",
    "scrypt-4096-8-1": f"scrypt:4096:8:1$salt${'0' * 128}",
}
TWO_FORMS = "wrong horse\u0301 battery"


@pytest.mark.parametrize("password", [None, TWO_FORMS], ids=["one form", "two forms"])
@pytest.mark.parametrize("make", MADE_ELSEWHERE)
def test_imported_hashes_at_the_api(app: Flask, work: list[str], make: str, password: str | None) -> None:
    """While users have hashes that another system made, an email without a password costs as much as one of theirs."""
    api = Api(app.test_client(), make_key(app, *Permission))

    def attempt(email: str, of_tries: str) -> tuple[int, bytes]:
        body = {"email": email, "password": password or of_tries}
        answer = api.call("POST", "/v1/user/verify-password", json=body)
        return answer.status_code, answer.data

    same_work_as_imported(app, work, make, attempt)


@pytest.mark.parametrize("password", [None, TWO_FORMS], ids=["one form", "two forms"])
@pytest.mark.parametrize("make", ["bcrypt-08", "argon2id-4096-1-2"])
def test_imported_hashes_at_the_sign_in(
    app: Flask, visitor: Visitor, work: list[str], make: str, password: str | None
) -> None:
    token = visitor.token(LOGIN)

    def attempt(email: str, of_tries: str) -> tuple[int, list[tuple[str, str]]]:
        answer = visitor.post(LOGIN, token=token, email=email, password=password or of_tries)
        return answer.status_code, problems_in(answer)

    same_work_as_imported(app, work, make, attempt)


def same_work_as_imported(app: Flask, work: list[str], make: str, attempt: Callable[[str, str], Any]) -> None:
    """Give all users a hash of the make, try each of TRIES, and compare what was done and what was answered."""
    for email in ("ada@example.com", "vera@example.com", "omar@example.com", "sam@example.com"):
        give_hash(app, email, MADE_ELSEWHERE[make])
    with app.app_context():
        decoys.refresh()
    attempt(*TRIES["unknown"])
    found = {}
    for name, given in TRIES.items():
        work.clear()
        answer = attempt(*given)
        found[name] = answer, list(work)
    costs = MADE_ELSEWHERE[make].removeprefix("argon2").rsplit("$", 2)[0]
    hashes = [one for one in found["unknown"][1] if one in (make, costs, "form", "made")]
    assert hashes[0] in (make, costs)
    assert hashes[-1] == "made"
    for name, outcome in found.items():
        assert outcome == found["unknown"], name
