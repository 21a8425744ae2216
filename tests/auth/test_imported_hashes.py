"""A hash that another system made lets its user in once, and is then one of our own."""

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import argon2
import pytest
from flask import Flask

from support.api import Api
from support.changes import TERMINAL, update
from support.databases import execute, statements
from support.foreign_hashes import bcrypt_of, give_hash, stored
from support.people import PASSWORD, Cast, make_key, make_user
from support.visitors import Visitor
from users.auth import decoys, signin
from users.errors import Invalid
from users.field_errors import FieldCode
from users.passwords import foreign
from users.roles import Permission
from users.services import cleanup, user_changes, user_queries
from users.services.links import password_links

SAM, ADA = "sam@example.com", "ada@example.com"


def is_ours(app: Flask, email: str) -> bool:
    """Tell whether the user's hash is one of today's, and nothing says that another system made it."""
    text, make = stored(app, email)
    return text.startswith("$argon2id$v=19$m=8,t=1,p=1$") and make is None


@pytest.fixture
def verify(app: Flask, cast: Cast) -> Callable[[str, str], bool]:
    """Ask the API whether a password is a user's."""
    api = Api(app.test_client(), make_key(app, Permission.USERS_VERIFY))

    def ask(email: str, password: str) -> bool:
        answer = api.call("POST", "/v1/user/verify-password", json={"email": email, "password": password})
        assert answer.status_code == 200
        return bool(answer.json["valid"])

    return ask


def test_verify_password_renews(app: Flask, verify: Callable[[str, str], bool]) -> None:
    give_hash(app, SAM, bcrypt_of())
    assert not verify(SAM, "wrong horse battery")
    assert stored(app, SAM) == (bcrypt_of(), "bcrypt-08")
    assert verify(SAM, PASSWORD)
    assert is_ours(app, SAM)
    assert verify(SAM, PASSWORD)
    assert not verify(SAM, "wrong horse battery")


def test_sign_in_renews(app: Flask, cast: Cast, visitor: Visitor) -> None:
    give_hash(app, ADA, f"bcrypt${bcrypt_of()}")
    visitor.sign_in(ADA, "wrong horse battery")
    assert not visitor.is_in
    assert stored(app, ADA)[1] == "bcrypt-08"
    visitor.sign_in(ADA)
    assert visitor.is_in
    assert is_ours(app, ADA)
    other = Visitor(app.test_client())
    other.sign_in(ADA)
    assert other.is_in


def test_decomposed_password(app: Flask, verify: Callable[[str, str], bool]) -> None:
    """The password as it was typed there matches, and from then on it is typed on any keyboard."""
    decomposed, composed = "Zoe\u0308 trinkt Kaffee", "Zoë trinkt Kaffee"
    give_hash(app, SAM, bcrypt_of(decomposed))
    assert not verify(SAM, composed), "the other system would have refused it too"
    assert verify(SAM, decomposed)
    assert verify(SAM, composed)


def test_every_new_password_is_ours(app: Flask, cast: Cast) -> None:
    """Wherever a password is set, the make goes with the hash."""
    with app.app_context():
        give_hash(app, SAM, bcrypt_of())
        user_changes.set_password(cast.sam.id, "another horse battery", actor=TERMINAL)
        assert is_ours(app, SAM)
        give_hash(app, SAM, bcrypt_of())
        link = password_links.make(cast.sam.id, actor=TERMINAL)
        password_links.use(link.token, "a third horse battery", actor=TERMINAL)
        assert is_ours(app, SAM)
        give_hash(app, SAM, bcrypt_of())
        update(cast.sam, first_name="Samuel")
        assert stored(app, SAM) == (bcrypt_of(), "bcrypt-08"), "another change leaves the hash alone"


DECOMPOSED = "Zoe\u0308 trinkt Kaffee"  # which the other system hashed as it was sent


@pytest.mark.parametrize(
    ("password", "hashed"),
    [(PASSWORD, bcrypt_of), (DECOMPOSED, lambda: argon2.PasswordHasher(1, 4096, 1).hash(DECOMPOSED))],
    ids=["bcrypt", "argon2, decomposed"],
)
def test_link_with_the_imported_password(app: Flask, cast: Cast, password: str, hashed: Callable[[], str]) -> None:
    """A user who must choose a new password cannot choose the imported one, however it is written."""
    give_hash(app, SAM, hashed())
    execute(app, "UPDATE users SET password_change_required = true WHERE id = :id", id=cast.sam.id)
    with app.app_context():
        link = password_links.make(cast.sam.id, actor=TERMINAL)
        with pytest.raises(Invalid) as refused:
            password_links.use(link.token, password, actor=TERMINAL)
        assert [error.code for error in refused.value.errors] == [FieldCode.PASSWORD_UNCHANGED]


def test_rehash_ends_the_password_link(app: Flask, cast: Cast, verify: Callable[[str, str], bool]) -> None:
    """As for a hash with older parameters: the link is signed over the hash."""
    give_hash(app, SAM, bcrypt_of())
    with app.app_context():
        password_links.make(cast.sam.id, actor=TERMINAL)
        assert verify(SAM, PASSWORD)
        assert password_links.open_until(user_queries.get_user(cast.sam.id)) is None


def make_of(app: Flask, email: str) -> str | None:
    """Return the make that is tried for an email without a password."""
    with app.app_context():
        return decoys.make_for(email)


def test_no_imported_hashes(app: Flask, cast: Cast) -> None:
    """Without any, only our own hash is tried, and only the first sign-in of a process asks the database."""
    with statements(app) as asked:
        assert {make_of(app, f"{number}@example.com") for number in range(50)} == {None}
    assert len([one for one in asked if "password_make" in one]) == 1


def test_shares(app: Flask, cast: Cast) -> None:
    """Emails without a password are given the makes of the users in the same shares."""
    for number in range(4):
        make_user(app, f"{number}@example.org")
        give_hash(app, f"{number}@example.org", bcrypt_of())
    with app.app_context():
        decoys.refresh()
    emails = [f"{number}@example.net" for number in range(2_000)]
    found = Counter(make_of(app, email) for email in emails)
    assert found.keys() == {None, "bcrypt-08"}
    assert math.isclose(found[None], 1_000, abs_tol=150)  # 6.7 standard deviations
    before = {email: make_of(app, email) for email in emails}
    assert before == {email: make_of(app, email) for email in emails}
    give_hash(app, SAM, "$argon2id$v=19$m=8192,t=1,p=1$c29tZXNhbHQ$" + "A" * 43)
    with app.app_context():
        decoys.refresh()
    changed = [(before[email], make_of(app, email)) for email in emails if before[email] != make_of(app, email)]
    assert {new for _, new in changed} <= {"argon2id-8192-1-1", "bcrypt-08"}, "fewer users have a hash of our own"
    assert len(changed) < 600


def test_a_rare_make_has_its_share(app: Flask, cast: Cast) -> None:
    """One user in five has a hash of a make of their own: so has one in five of the emails without a password."""
    make_user(app, "jo@example.org")
    for user in (cast.ada, cast.omar, cast.vera):
        give_hash(app, user.email, bcrypt_of())
    give_hash(app, SAM, bcrypt_of(cost=9))
    with app.app_context():
        decoys.refresh()
    found = Counter(make_of(app, f"{number}@example.net") for number in range(2_000))
    assert found.keys() == {None, "bcrypt-08", "bcrypt-09"}
    assert math.isclose(found["bcrypt-09"], 400, abs_tol=120)  # 6.7 standard deviations


def test_one_email_has_one_make(app: Flask, cast: Cast) -> None:
    """However an email is spelt, it costs the same, as it would if it were a user's."""
    for user in (cast.ada, cast.omar):
        give_hash(app, user.email, bcrypt_of())
    with app.app_context():
        decoys.refresh()
        for number in range(30):
            spellings = (f"jo{number}@example.net", f"JO{number}@Example.NET", f"Jo{number}@ｅxample.net")
            assert len({decoys.make_for(signin._claimed_account(one).typed) for one in spellings}) == 1


@pytest.mark.parametrize("spread", [0.1, 0.9])
def test_many_makes(spread: float) -> None:
    """With a number of iterations for each hash, each user has a decoy of about the same cost, and no share is lost."""
    number = 5_000
    makes = {f"pbkdf2-sha256-{int(300_000 * (1 + spread * at / number))}": 1 for at in range(number)}
    makes = {"bcrypt-10": 9_000, **makes, "bcrypt-14": 1, "yescrypt-7": 1}
    merged = decoys._merge(makes)
    assert sum(merged.values()) == sum(makes.values())
    assert len(merged) <= decoys._MOST_MAKES
    assert (merged["bcrypt-10"], merged["bcrypt-14"], merged["yescrypt-7"]) == (9_000, 1, 1)
    kept = [int(make.split("-")[2]) for make in merged if make.startswith("pbkdf2")]
    for make in list(makes)[1:number:50]:
        iterations = int(make.split("-")[2])
        assert min(abs(one / iterations - 1) for one in kept) < 0.03


def test_cost_of_argon2() -> None:
    """Its memory is that of all lanes together, so lanes cost no more work, but other time: they are not merged."""
    few_passes, many_passes, one_lane = (decoys._cost(f"argon2id-58333-{rest}") for rest in ("3-4", "12-4", "12-1"))
    assert few_passes[0] == many_passes[0] != one_lane[0]
    assert many_passes[1] - few_passes[1] == pytest.approx(math.log(4))
    assert one_lane[1] == many_passes[1]


def test_few_makes_are_kept_as_they_are() -> None:
    makes = {f"pbkdf2-sha256-{600_000 + number}": number + 1 for number in range(decoys._MOST_MAKES)}
    assert decoys._merge(makes) == makes


def test_makes_of_more_algorithms_than_there_are() -> None:
    """What newer versions may write ends the merging too."""
    assert len(decoys._merge({f"new{number}": 1 for number in range(1_000)})) == decoys._MOST_MAKES


def test_deleted_users_do_not_count(app: Flask, cast: Cast) -> None:
    """An import that was taken back leaves hashes behind, and no user with one."""
    give_hash(app, SAM, bcrypt_of())
    with app.app_context():
        assert decoys.count() == {"bcrypt-08": 1}
        user_changes.delete_user(cast.sam.id, actor=TERMINAL)
        assert decoys.count() == {}


def test_counted_each_minute(app: Flask, cast: Cast) -> None:
    """The clean-up, which runs each minute, counts the makes for the sign-ins."""
    assert make_of(app, "jo@example.com") is None
    for user in (cast.ada, cast.omar, cast.vera, cast.sam):
        give_hash(app, user.email, bcrypt_of())
    assert make_of(app, "jo@example.com") is None
    scheduler: Any = cleanup._Scheduler(app)
    scheduler._running.acquire()
    scheduler._run()
    assert make_of(app, "jo@example.com") == "bcrypt-08"


def test_make_of_a_newer_version(app: Flask, cast: Cast, verify: Callable[[str, str], bool]) -> None:
    """A make that this version does not know is tried as one of our own."""
    execute(app, "UPDATE users SET password_make = 'yescrypt-7'")
    assert foreign.decoy("yescrypt-7") is None
    assert not verify("nobody@example.com", PASSWORD)
    assert verify(SAM, PASSWORD), "a server of the version before has written a hash of its own"
    assert is_ours(app, SAM)
