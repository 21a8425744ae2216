"""The act on one of many users, in the transaction of a step: by the functions of the single act and their rules."""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from users.actors import Actor
from users.bulk.acts.kinds import YOURSELF, Act, Fate, Wanted
from users.errors import Conflict, Denied, LastAdministrator, UserDeactivated, UserNotFound
from users.rules.validation import UserChanges
from users.services import user_changes, user_creation
from users.services.links import password_links


def do(session: Session, wanted: Wanted, user_id: str, *, actor: Actor, start: datetime) -> str:
    """Do the act to the user in this transaction, and return their fate.

    `actor` is reauthorized and holds `wanted.permissions`. Password links are valid from `start` on, the same moment
    for all users of the act.
    """
    if user_id == actor.user_id:
        return YOURSELF
    try:
        return Fate.DONE if _ACTS[wanted.act](session, wanted, user_id, actor, start) else Fate.UNCHANGED
    except UserNotFound as error:
        return Fate.UNCHANGED if wanted.act is Act.DELETE else error.code
    except (Denied, LastAdministrator, UserDeactivated) as error:
        return error.code


def _set_active(session: Session, wanted: Wanted, user_id: str, actor: Actor, _start: datetime) -> bool:
    changes = UserChanges(frozenset({"is_active"}), is_active=wanted.act is Act.REACTIVATE)
    return user_changes.change(session, user_id, changes, actor=actor)[1]


def _give_role(session: Session, wanted: Wanted, user_id: str, actor: Actor, _start: datetime) -> bool:
    changes = UserChanges(frozenset({"global_role_id"}), global_role_id=wanted.role)
    return user_changes.change(session, user_id, changes, actor=actor)[1]


def _delete(session: Session, _wanted: Wanted, user_id: str, actor: Actor, _start: datetime) -> bool:
    user_changes.delete(session, user_id, actor=actor)
    return True


def _open_link(session: Session, _wanted: Wanted, user_id: str, actor: Actor, start: datetime) -> bool:
    password_links.open_link(session, user_id, start=start, actor=actor)
    return True


def _restore(session: Session, _wanted: Wanted, user_id: str, actor: Actor, _start: datetime) -> bool:
    return user_changes.restore(session, user_id, actor=actor)[1]


_ACTS: dict[Act, Callable[[Session, Wanted, str, Actor, datetime], bool]] = {
    Act.DEACTIVATE: _set_active,
    Act.DELETE: _delete,
    Act.LINKS: _open_link,
    Act.REACTIVATE: _set_active,
    Act.RESTORE: _restore,
    Act.ROLE: _give_role,
}


def do_apart(session: Session, wanted: Wanted, user_id: str, *, actor: Actor, start: datetime) -> str:
    """Do the act as `do` does, in a savepoint of its own: a taken email then undoes this user's act alone."""
    try:
        with session.begin_nested():
            return do(session, wanted, user_id, actor=actor, start=start)
    except IntegrityError as error:
        if not user_creation.is_taken(error):
            raise
        return Conflict.code
