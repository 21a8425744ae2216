"""The first steps of a new installation: a key, a user, a call of the API. The data says which are done."""

import contextlib
import math
from dataclasses import astuple, dataclass

from flask import current_app
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from users import clock
from users.errors import Unavailable
from users.storage import database
from users.storage.models import ApiKey, Observation, User

_CALL = "first_call"  # the name of the observation
_AGAIN_SECONDS = 60  # after a database that could not write


@dataclass(frozen=True)
class FirstSteps:
    """Which steps are done."""

    has_key: bool
    has_user: bool  # beside the first administrator
    has_called: bool

    @property
    def number_done(self) -> int:
        """How many of the three are done."""
        return sum(astuple(self))


def read() -> FirstSteps:
    """Return which steps are done. Raises Unavailable."""
    with database.reading() as session:
        return FirstSteps(
            has_key=session.scalar(select(ApiKey.id).limit(1)) is not None,
            has_user=len(session.scalars(select(User.id).where(User.deleted_at.is_(None)).limit(2)).all()) > 1,
            has_called=session.scalar(select(Observation.name).where(Observation.name == _CALL)) is not None,
        )


def unfinished() -> FirstSteps | None:
    """Return which steps are done, None when all are. A process that has once seen them done asks no more."""
    if "enrol.first_steps_done" in current_app.extensions:
        return None
    steps = read()
    if steps.number_done < 3:
        return steps
    current_app.extensions["enrol.first_steps_done"] = True
    return None


def note_call() -> None:
    """Keep that a call of the API succeeded, once in each process. It waits for no other writer and raises nothing."""
    if clock.monotonic() < current_app.extensions.get("enrol.next_note_of_call", 0):
        return
    current_app.extensions["enrol.next_note_of_call"] = math.inf
    try:
        # IntegrityError: another process was quicker, or this is not the first start.
        with contextlib.suppress(IntegrityError), database.writing(wait=False) as connection:
            connection.execute(insert(Observation).values(name=_CALL, detail="", seen_at=clock.now()))
    except Unavailable:
        current_app.extensions["enrol.next_note_of_call"] = clock.monotonic() + _AGAIN_SECONDS
