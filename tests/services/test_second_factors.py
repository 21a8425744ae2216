"""The acts on second factors: a factor counts late, the last one goes with its codes, others can reset them all."""

from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
from flask import Flask

from support.databases import execute, rows
from support.factors import App, add_app, begin_app
from support.guessers import Time
from support.people import UNKNOWN_ID, Cast, as_actor
from support.second_steps import TwoSteps, half_way
from users import clock
from users.actors import Actor
from users.auth import sessions
from users.auth.factors import held, recovery_codes
from users.auth.factors.held import WrongCode
from users.auth.sessions import Stage
from users.errors import Denied, UserNotFound
from users.form_errors import (
    ConfirmationNeeded,
    FactorNotFound,
    LastFactor,
    Outdated,
    SessionEnded,
    TooManyFactors,
)
from users.roles import Permission
from users.services import cleanup, second_factors, user_changes
from users.storage.models import User

pytestmark = pytest.mark.one_database
TABLES = ("second_factors", "admin_sessions")
REQUIRED = {"ENROL_REQUIRE_SECOND_FACTOR": "administrators"}


@pytest.fixture
def signed_in(app: Flask, cast: Cast) -> TwoSteps:
    """Ada, signed in with the password: she has no second factor yet."""
    steps = TwoSteps(app, cast.ada)
    assert steps.give_password() == "in"
    return steps


def actor_of(steps: TwoSteps) -> Actor:
    """Return the actor of the next request in this session."""
    found = steps.found
    assert found
    return steps.actor.signed_in_as(
        found.user.id, found.permissions, found.id_hash, needs_confirmation=found.needs_confirmation
    )


def acts(app: Flask, prefix: str = "") -> list[tuple[str, str]]:
    """Return the audited acts on factors and codes, and their fields, oldest first."""
    query = "SELECT action, fields FROM audit_events WHERE action LIKE 'factor%' OR action LIKE 'recovery%' ORDER BY id"
    return [(row.action, row.fields) for row in rows(app, query)]


def count_codes(app: Flask, cast: Cast) -> int:
    """Return how many recovery codes Ada has left."""
    with app.app_context():
        return recovery_codes.count_left(cast.ada.id)


def test_first_factor(app: Flask, cast: Cast, signed_in: TwoSteps) -> None:
    """It counts once it was proved and its codes were seen. Then the other sessions end, and this one's id changes."""
    other, before = TwoSteps(app, cast.ada), signed_in.session
    assert other.give_password() == "in"
    actor, mine = actor_of(signed_in), begin_app(app, cast.ada)
    with app.app_context():
        codes = second_factors.prove_app(mine.factor_id, mine.code_at(0), "My phone", actor=actor)
        assert len(codes) == 10
        assert held.of_user(cast.ada.id) == []
        assert other.found
        assert not sessions.find(signed_in.session.id).has_factor  # type: ignore[union-attr]
        signed_in.session = second_factors.activate(before, mine.factor_id, actor=actor)
        assert [factor.name for factor in held.of_user(cast.ada.id)] == ["My phone"]
    assert signed_in.session.id != before.id
    assert signed_in.found
    assert signed_in.found.has_factor
    assert other.found is None
    assert rows(app, "SELECT count(*) FROM admin_sessions") == [(1,)]
    assert acts(app) == [("recovery_codes.create", "[]"), ("factor.create", '["totp"]')]


def test_second_factor(app: Flask, cast: Cast) -> None:
    """Another factor counts with its first right code: the codes are there already. No session ends."""
    mine = add_app(app, cast.ada)
    signed_in = half_way(app, cast.ada)
    assert signed_in.answer(mine.code()) == "in"
    new, actor = begin_app(app, cast.ada), actor_of(signed_in)
    with app.app_context():
        assert second_factors.prove_app(new.factor_id, new.code_at(0), "", actor=actor) == []
        assert len(held.of_user(cast.ada.id)) == 2
    assert signed_in.found
    assert count_codes(app, cast) == 10
    assert acts(app)[1:] == [("factor.create", '["totp"]')]


def test_unfinished(app: Flask, cast: Cast, signed_in: TwoSteps) -> None:
    """A factor that does not count signs nobody in and keeps nobody out; another that is begun replaces it."""
    first, actor = begin_app(app, cast.ada), actor_of(signed_in)
    with app.app_context():
        with pytest.raises(WrongCode):
            second_factors.prove_app(first.factor_id, "000000", "", actor=actor)
        with pytest.raises(Outdated):
            second_factors.activate(signed_in.session, first.factor_id, actor=actor)
        codes = second_factors.prove_app(first.factor_id, first.code_at(0), "", actor=actor)
    plain = TwoSteps(app, cast.ada)
    assert plain.give_password() == "in"
    assert plain.session.stage is Stage.COMPLETE
    assert [plain.answer(code) for code in (first.code_at(1), codes[0])] == ["wrong", "wrong"]
    second = begin_app(app, cast.ada)
    assert [row.id for row in rows(app, "SELECT id FROM second_factors")] == [second.factor_id]
    with app.app_context(), pytest.raises(FactorNotFound):
        second_factors.activate(signed_in.session, first.factor_id, actor=actor)


def test_codes_that_were_missed(app: Flask, cast: Cast, signed_in: TwoSteps) -> None:
    """A new factor whose codes were not seen gets others before it counts; a user without a factor gets none."""
    mine, actor = begin_app(app, cast.ada), actor_of(signed_in)
    with app.app_context():
        with pytest.raises(FactorNotFound):
            second_factors.new_codes(actor=actor)
        missed = second_factors.prove_app(mine.factor_id, mine.code_at(0), "", actor=actor)
        seen = second_factors.new_codes(actor=actor)
        second_factors.activate(signed_in.session, mine.factor_id, actor=actor)
    assert [half_way(app, cast.ada).answer(code) for code in (missed[0], seen[0])] == ["wrong", "in"]


def test_activate_in_an_ended_session(app: Flask, cast: Cast, signed_in: TwoSteps) -> None:
    """The factor does not count then."""
    mine, key = begin_app(app, cast.ada), as_actor(app, cast.ada)
    with app.app_context():
        second_factors.prove_app(mine.factor_id, mine.code_at(0), "", actor=key)
    execute(app, "DELETE FROM admin_sessions")
    with app.app_context(), pytest.raises(SessionEnded):
        second_factors.activate(signed_in.session, mine.factor_id, actor=key)
    assert rows(app, "SELECT active_since FROM second_factors") == [(None,)]


def test_most(app: Flask, cast: Cast) -> None:
    """Ten factors at most."""
    add_app(app, cast.ada)
    actor = as_actor(app, cast.ada)
    for _ in range(9):
        new = begin_app(app, cast.ada)
        with app.app_context():
            second_factors.prove_app(new.factor_id, new.code_at(0), "", actor=actor)
    with app.app_context(), pytest.raises(TooManyFactors):
        second_factors.begin_app(actor=actor)
    assert rows(app, "SELECT count(*) FROM second_factors WHERE active_since IS NOT NULL") == [(10,)]


def test_remove(app: Flask, cast: Cast) -> None:
    """The recovery codes end with the last factor."""
    first, actor = add_app(app, cast.ada), as_actor(app, cast.ada)
    second = begin_app(app, cast.ada)
    with app.app_context():
        second_factors.prove_app(second.factor_id, second.code_at(0), "", actor=actor)
        second_factors.remove(first.factor_id, actor=actor)
    assert count_codes(app, cast) == 10
    with app.app_context():
        second_factors.remove(second.factor_id, actor=actor)
    assert count_codes(app, cast) == 0
    assert not rows(app, "SELECT 1 FROM recovery_codes")
    assert acts(app)[-2:] == [("factor.delete", '["totp"]')] * 2
    plain = TwoSteps(app, cast.ada)
    plain.give_password()
    assert plain.session.stage is Stage.COMPLETE


def test_remove_unfinished(app: Flask, cast: Cast) -> None:
    """It leaves no audit row, as its beginning left none, and no codes end."""
    mine, begun, actor = add_app(app, cast.ada), begin_app(app, cast.ada), as_actor(app, cast.ada)
    before = acts(app)
    with app.app_context():
        second_factors.remove(begun.factor_id, actor=actor)
        assert [factor.id for factor in held.of_user(cast.ada.id)] == [mine.factor_id]
    assert acts(app) == before
    assert count_codes(app, cast) == 10


@pytest.mark.parametrize("settings", [REQUIRED])
def test_last_factor(app: Flask, cast: Cast) -> None:
    """It stays where one is required, beside an unfinished one too; a user of whom none is required may remove it."""
    mine, theirs = add_app(app, cast.ada), add_app(app, cast.omar)
    begin_app(app, cast.ada)
    ada, omar = as_actor(app, cast.ada), as_actor(app, cast.omar)
    with app.app_context():
        with pytest.raises(LastFactor):
            second_factors.remove(mine.factor_id, actor=ada)
        second_factors.remove(theirs.factor_id, actor=omar)
    assert count_codes(app, cast) == 10


@pytest.mark.parametrize("settings", [REQUIRED])
def test_enrolment(app: Flask, cast: Cast, signed_in: TwoSteps) -> None:
    """A session without the required factor has no permission until the factor counts."""
    assert (signed_in.session.stage, signed_in.session.permissions) == (Stage.ENROLMENT, frozenset())
    mine, actor = begin_app(app, cast.ada), actor_of(signed_in)
    with app.app_context():
        second_factors.prove_app(mine.factor_id, mine.code_at(0), "", actor=actor)
        assert sessions.find(signed_in.session.id).stage is Stage.ENROLMENT  # type: ignore[union-attr]
        signed_in.session = second_factors.activate(signed_in.session, mine.factor_id, actor=actor)
    assert signed_in.session.stage is Stage.COMPLETE
    assert signed_in.found
    assert signed_in.found.permissions == frozenset(Permission)


def test_rename(app: Flask, cast: Cast) -> None:
    mine, actor = add_app(app, cast.ada), as_actor(app, cast.ada)
    with app.app_context():
        assert second_factors.rename(mine.factor_id, "My phone", actor=actor).name == "My phone"
        assert second_factors.rename(mine.factor_id, "", actor=actor).name == "Authenticator app"


@pytest.mark.parametrize("factor_id", ["theirs", "fct_01900000000070008000000000000000", "", "fct_\0", "x" * 9000])
def test_no_such_factor(app: Flask, cast: Cast, factor_id: str) -> None:
    """Another user's factor is none."""
    theirs, actor = add_app(app, cast.omar), as_actor(app, cast.ada)
    given = theirs.factor_id if factor_id == "theirs" else factor_id
    wanted: Sequence[Callable[[], object]] = [
        lambda: second_factors.get(cast.ada.id, given),
        lambda: second_factors.rename(given, "x", actor=actor),
        lambda: second_factors.remove(given, actor=actor),
        lambda: second_factors.prove_app(given, theirs.code(), "", actor=actor),
    ]
    with app.app_context():
        for act in wanted:
            with pytest.raises(FactorNotFound):
                act()


def test_reset(app: Flask, cast: Cast) -> None:
    """All factors and codes go, and all sessions end, half ones too."""
    mine = add_app(app, cast.ada)
    begin_app(app, cast.ada)
    half, whole = half_way(app, cast.ada), half_way(app, cast.ada)
    assert whole.answer(mine.code()) == "in"
    olga = as_actor(app, second_administrator(app, cast))
    with app.app_context():
        second_factors.reset(cast.ada.id, actor=olga)
    assert (half.found, whole.found) == (None, None)
    assert half.answer(mine.recovery_codes[0]) == "ended"
    assert not rows(app, "SELECT 1 FROM second_factors")
    assert not rows(app, "SELECT 1 FROM recovery_codes")
    assert acts(app)[-1] == ("factor.reset", "[]")


def second_administrator(app: Flask, cast: Cast) -> User:
    """Return Omar, made an administrator."""
    execute(app, "UPDATE users SET global_role_id = 'role_admin' WHERE id = :id", id=cast.omar.id)
    cast.omar.global_role_id = "role_admin"
    return cast.omar


def test_reset_is_refused(app: Flask, cast: Cast) -> None:
    """Nobody resets their own, nor those of a user with more permissions, nor without a fresh proof."""
    for user in (cast.ada, cast.omar):
        add_app(app, user)
    ada, omar, vera = (as_actor(app, user) for user in (cast.ada, cast.omar, cast.vera))
    with app.app_context():
        for user, actor in ((cast.ada, ada), (cast.omar, omar), (cast.ada, omar), (cast.omar, vera)):
            with pytest.raises(Denied):
                second_factors.reset(user.id, actor=actor)
        with pytest.raises(UserNotFound):
            second_factors.reset(UNKNOWN_ID, actor=ada)
    assert rows(app, "SELECT count(*) FROM second_factors") == [(2,)]


def test_confirmation(app: Flask, cast: Cast, signed_in: TwoSteps) -> None:
    """Each act wants a proof of the last ten minutes, renaming apart."""
    add_app(app, cast.omar)
    execute(app, "UPDATE admin_sessions SET confirmed_at = :then", then=clock.now() - timedelta(minutes=10))
    actor = actor_of(signed_in)
    assert actor.needs_confirmation
    wanted: Sequence[Callable[[], object]] = [
        lambda: second_factors.begin_app(actor=actor),
        lambda: second_factors.prove_app("", "", "", actor=actor),
        lambda: second_factors.activate(signed_in.session, "", actor=actor),
        lambda: second_factors.new_codes(actor=actor),
        lambda: second_factors.remove("", actor=actor),
        lambda: second_factors.reset(cast.omar.id, actor=actor),
    ]
    with app.app_context():
        for act in wanted:
            with pytest.raises(ConfirmationNeeded):
                act()


def test_deleted_user(app: Flask, cast: Cast) -> None:
    """The factors and codes of a deleted user are deleted."""
    add_app(app, cast.omar)
    actor = as_actor(app, cast.ada)
    with app.app_context():
        user_changes.delete_user(cast.omar.id, actor=actor)
    assert not rows(app, "SELECT 1 FROM second_factors")
    assert not rows(app, "SELECT 1 FROM recovery_codes")


def test_clean_up(app: Flask, cast: Cast, time: Time) -> None:
    """Unfinished factors go away after an hour, and half sessions after ten minutes; what counts stays."""
    mine: App = add_app(app, cast.ada)
    begin_app(app, cast.omar)
    half, whole = half_way(app, cast.ada), half_way(app, cast.ada)
    assert whole.answer(mine.code_at(0)) == "in"

    def left() -> tuple[int, int]:
        with app.app_context():
            cleanup.delete_expired()
        ((factors,),), ((open_ones,),) = (rows(app, f"SELECT count(*) FROM {table}") for table in TABLES)
        return factors, open_ones

    assert left() == (2, 2)
    time.pass_by(minutes=10)
    assert left() == (2, 1)
    assert half.found is None
    assert whole.found
    time.pass_by(minutes=49, seconds=59)
    assert left()[0] == 2
    time.pass_by(seconds=1)
    assert left()[0] == 1
    assert half_way(app, cast.ada).answer(mine.code_at(0)) == "in"
