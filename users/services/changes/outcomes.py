"""The users whom a transaction changes: locked together, judged one by one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Select, bindparam, select
from sqlalchemy.orm import Session

from users import clock, ids
from users.actors import Actor
from users.errors import EnrolError, LastAdministrator, UserNotFound
from users.roles import Role, needed_to_act_on
from users.services import user_queries
from users.storage import database
from users.storage.models import User

_ADMINISTRATORS_LOCK = 0x61646D696E  # "admin", the number of the lock
_SOME = select(User).where(User.id.in_(bindparam("user_ids", expanding=True))).order_by(User.id)
_PRESENT = _SOME.where(User.deleted_at.is_(None)).with_for_update()
# The lock lets a new row refer to the user: one who rolls a key holds that key, which a restore waits for.
EVEN_DELETED = _SOME.with_for_update(key_share=True)
_ACTIVE_ADMINISTRATORS = user_queries.active_administrators()
# Called with the user, locked, before the change: an error that it raises stops the act.
Precondition = Callable[[User], None]


@dataclass
class Outcome:
    """What became of each user, by id, at the moment when all of them were locked."""

    at: datetime
    changed: dict[str, User] = field(default_factory=dict)
    unchanged: dict[str, User] = field(default_factory=dict)  # they were so already
    refused: dict[str, EnrolError] = field(default_factory=dict)

    def of_one(self) -> tuple[User, bool]:
        """Return the only user and whether they were changed, or raise the error of their refusal."""
        for error in self.refused.values():
            raise error
        (user,) = (*self.changed.values(), *self.unchanged.values())
        return user, bool(self.changed)


def of_each(
    session: Session,
    user_ids: Sequence[str],
    change: Callable[[User, datetime], bool],
    *,
    actor: Actor,
    precondition: Precondition | None = None,
    users: Select[User] = _PRESENT,
) -> Outcome:
    """Lock the users until the end of the transaction, call `change` with each, and return what became of them.

    No actor changes a user with permissions that the actor does not hold: else an operator could take over an
    administrator. `change` gets the moment too, and tells whether there was something to change. An error that it or
    `precondition` raises refuses this user alone, so the user must be as before.
    """
    locked = _lock(session, user_ids, users)
    outcome = Outcome(clock.now())
    for user_id in user_ids:
        try:
            user = locked.get(user_id)
            if user is None:
                raise UserNotFound
            actor.require(*needed_to_act_on(user.global_role_id))
            if precondition:
                precondition(user)
            (outcome.changed if change(user, outcome.at) else outcome.unchanged)[user_id] = user
        except EnrolError as error:
            outcome.refused[user_id] = error
    return outcome


def _lock(session: Session, user_ids: Sequence[str], users: Select[User]) -> dict[str, User]:
    """Return the users by id, locked in the order of their ids: two such acts at once cannot block each other."""
    possible = [user_id for user_id in user_ids if ids.is_user_id(user_id)]  # Postgres refuses a NUL in a text
    if not possible:
        return {}
    return {user.id: user for user in session.scalars(users, {"user_ids": possible})}


class Administrators:
    """The active administrators: no other act adds or removes one until the transaction ends.

    Lock them before any user. It is an advisory lock: row locks, taken one by one, would show rows of different
    moments, and two administrators who leave at the same time could each count the other.
    """

    def __init__(self, session: Session) -> None:
        database.advisory_lock(session, _ADMINISTRATORS_LOCK)
        self._ids = set(session.scalars(_ACTIVE_ADMINISTRATORS))

    def require_another(self, user: User) -> None:
        """Raise LastAdministrator if the user is the only one."""
        if self._ids == {user.id}:
            raise LastAdministrator(user.id)

    def note(self, user: User) -> None:
        """Count the user as they are after a change."""
        self._ids.discard(user.id)
        if user.global_role_id == Role.ADMIN and user.is_active and user.deleted_at is None:
            self._ids.add(user.id)
