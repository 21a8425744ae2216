"""The states of a sign-in that is not complete, and one whose proof is old: each with a browser in it."""

from collections.abc import Callable
from dataclasses import dataclass

from flask import Flask

from support.databases import execute
from support.factors import FACTOR, FACTORS, add_app, begin_app, fully_signed_in, grow_old, half_signed_in
from support.people import Cast
from support.visitors import Visitor, signed_in
from users.storage.models import User

CHOOSE = "/account/password"
Begin = Callable[[Flask, Cast], "HalfState"]


@dataclass
class HalfState:
    """A browser at one stage of a sign-in, with the place that its sign-in leads to and its column of the table."""

    browser: Visitor
    step: str
    column: str
    factor_id: str


def _must_change(app: Flask, user: User) -> None:
    execute(app, "UPDATE users SET password_change_required = true WHERE id = :id", id=user.id)


def awaits_factor(app: Flask, cast: Cast) -> HalfState:
    mine = add_app(app, cast.ada)
    return HalfState(half_signed_in(app, cast.ada), FACTOR, "factor", mine.factor_id)


def awaits_factor_and_password(app: Flask, cast: Cast) -> HalfState:
    _must_change(app, cast.ada)
    return awaits_factor(app, cast)


def must_choose(app: Flask, cast: Cast) -> HalfState:
    _must_change(app, cast.ada)
    return HalfState(signed_in(app, cast.ada), CHOOSE, "password", add_app(app, cast.ada).factor_id)


def must_choose_in_the_middle(app: Flask, cast: Cast) -> HalfState:
    browser = signed_in(app, cast.ada)
    _must_change(app, cast.ada)
    return HalfState(browser, CHOOSE, "password", begin_app(app, cast.ada).factor_id)


def must_enrol(app: Flask, cast: Cast) -> HalfState:
    return _enrolling(app, cast.ada)


def auditor_must_enrol(app: Flask, cast: Cast) -> HalfState:
    return _enrolling(app, cast.vera)


def _enrolling(app: Flask, user: User) -> HalfState:
    mine = begin_app(app, user)
    execute(app, "UPDATE second_factors SET proved_at = created_at WHERE id = :id", id=mine.factor_id)
    return HalfState(signed_in(app, user), FACTORS, "enrolment", mine.factor_id)


def must_choose_then_enrol(app: Flask, cast: Cast) -> HalfState:
    return must_choose_in_the_middle(app, cast)


def proved_long_ago(app: Flask, cast: Cast) -> HalfState:
    mine = add_app(app, cast.ada)
    browser = fully_signed_in(app, cast.ada, mine)
    grow_old(app, cast.ada)
    add_app(app, cast.sam)  # for the reset
    unfinished = begin_app(app, cast.ada)
    execute(app, "UPDATE second_factors SET proved_at = created_at WHERE id = :id", id=unfinished.factor_id)
    return HalfState(browser, "", "old-proof", unfinished.factor_id)


OFF, ADMINISTRATORS, ALL = ({"ENROL_REQUIRE_SECOND_FACTOR": which} for which in ("off", "administrators", "all"))
HALF_STATES: list[tuple[Begin, dict[str, str]]] = [
    (awaits_factor, OFF),
    (awaits_factor, ALL),
    (awaits_factor_and_password, OFF),
    (must_choose, OFF),
    (must_choose_in_the_middle, OFF),
    (must_enrol, ADMINISTRATORS),
    (auditor_must_enrol, ALL),
    (must_choose_then_enrol, ADMINISTRATORS),
]
EVERY_STATE = [*HALF_STATES, (proved_long_ago, ALL)]
