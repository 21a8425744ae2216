"""Second factors of users: an authenticator app added as the pages do it, its codes, and sign-ins with them."""

import re
from dataclasses import dataclass, field
from datetime import timedelta

from flask import Flask
from pyotp import TOTP

from support.api import Answer
from support.databases import execute
from support.people import PASSWORD, as_actor
from support.visitors import LOGIN, Visitor, token_in
from users import clock
from users.auth.factors import apps
from users.services import second_factors
from users.storage.models import User

FACTOR, FACTORS, CONFIRM, CODES = (
    "/admin/login/factor",
    "/account/factors",
    "/account/confirm",
    "/account/recovery-codes",
)
STEP = timedelta(seconds=apps.STEP_SECONDS)


@dataclass
class App:
    """An authenticator app of a user, as their phone has it, and the recovery codes that they saved."""

    factor_id: str
    totp: TOTP = field(repr=False)
    recovery_codes: list[str] = field(default_factory=list, repr=False)
    _last_step: int = 0

    def code(self) -> str:
        """Return a code that was not given yet: today's, or the next one."""
        now = clock.now()
        step = max(self.totp.timecode(now), self._last_step + 1)
        self._last_step = step
        return self.totp.generate_otp(step)

    def code_at(self, steps: int) -> str:
        """Return the code that lies `steps` of 30 seconds from now."""
        return self.totp.at(clock.now() + steps * STEP)


def begin_app(app: Flask, user: User) -> App:
    """Begin an app for the user, which does not count yet."""
    with app.app_context():
        factor = second_factors.begin_app(actor=as_actor(app, user))
        return App(factor.id, TOTP(apps.key_of(factor)))


def add_app(app: Flask, user: User) -> App:
    """Add an app to the user's second factors: it counts, and no code was given with it but one of long ago."""
    mine = begin_app(app, user)
    with app.app_context():
        mine.recovery_codes = second_factors.prove_app(mine.factor_id, mine.code_at(0), "", actor=as_actor(app, user))
    execute(
        app,
        "UPDATE second_factors SET active_since = created_at, counter = 0 WHERE id = :id",
        id=mine.factor_id,
    )
    return mine


def give_code(visitor: Visitor, code: str, **more: str) -> Answer:
    """Send a code at the second step of the sign-in."""
    return visitor.client.post(FACTOR, data={"code": code, "csrf_token": visitor.token(FACTOR), **more})


def half_signed_in(app: Flask, user: User, password: str = PASSWORD) -> Visitor:
    """Return a new browser in which the user, who has a second factor, has given the password alone."""
    visitor = Visitor(app.test_client())
    answer = visitor.sign_in(user.email, password, token=visitor.token(LOGIN))
    assert answer.location.partition("?")[0] == FACTOR
    return visitor


def fully_signed_in(app: Flask, user: User, mine: App) -> Visitor:
    """Return a new browser in which the user has given the password and a code."""
    visitor = half_signed_in(app, user)
    assert give_code(visitor, mine.code()).status_code == 303
    return visitor


def grow_old(app: Flask, user: User) -> None:
    """Let the last proofs of the user's sessions be older than ten minutes."""
    execute(app, "UPDATE admin_sessions SET confirmed_at = '2020-01-01 00:00:00' WHERE user_id = :id", id=user.id)


def confirm(visitor: Visitor, **answer: str) -> Answer:
    """Send the proof that it is the user, from the page that asks for it."""
    page = visitor.get(CONFIRM)
    return visitor.client.post(CONFIRM, data={"csrf_token": token_in(page), **answer})


def codes_in(page: Answer) -> list[str]:
    """Return the recovery codes that a page shows."""
    return re.findall(r"[0-9A-Z]{4}(?:-[0-9A-Z]{4}){5}", page.text)
