"""The act on some of many users, in the transaction of a step: by the functions of the single act and their rules."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from users.actors import Actor
from users.bulk.acts.kinds import YOURSELF, Act, Fate, Wanted
from users.errors import Conflict, Denied, EnrolError, LastAdministrator, UserDeactivated, UserNotFound
from users.rules.validation import UserChanges
from users.services import user_creation
from users.services.changes import each
from users.services.changes.outcomes import Outcome
from users.services.links import password_links
from users.storage.models import User

_REFUSALS = (Conflict, Denied, LastAdministrator, UserDeactivated, UserNotFound)
_Fates = Mapping[str, str]  # by the id of the user


def do(session: Session, wanted: Wanted, user_ids: Sequence[str], *, actor: Actor, start: datetime) -> _Fates:
    """Do the act to the users in this transaction, and return the fate of each.

    `actor` is reauthorized and holds `wanted.permissions`. Password links are valid from `start` on, the same moment
    for all users of the act.
    """
    others = [user_id for user_id in user_ids if user_id != actor.user_id]
    outcome = _ACTS[wanted.act](session, wanted, others, actor, start)
    refused = {user_id: _fate(wanted, error) for user_id, error in outcome.refused.items()}
    fates = dict.fromkeys(outcome.changed, Fate.DONE) | dict.fromkeys(outcome.unchanged, Fate.UNCHANGED) | refused
    return {user_id: fates.get(user_id, YOURSELF) for user_id in user_ids}


def _fate(wanted: Wanted, error: EnrolError) -> str:
    if not isinstance(error, _REFUSALS):
        raise error
    if wanted.act is Act.DELETE and isinstance(error, UserNotFound):
        return Fate.UNCHANGED
    return error.code


def _set_active(session: Session, wanted: Wanted, user_ids: Sequence[str], actor: Actor, _start: datetime) -> Outcome:
    changes = UserChanges(frozenset({"is_active"}), is_active=wanted.act is Act.REACTIVATE)
    return each.change(session, user_ids, changes, actor=actor)


def _give_role(session: Session, wanted: Wanted, user_ids: Sequence[str], actor: Actor, _start: datetime) -> Outcome:
    changes = UserChanges(frozenset({"global_role_id"}), global_role_id=wanted.role)
    return each.change(session, user_ids, changes, actor=actor)


def _delete(session: Session, _wanted: Wanted, user_ids: Sequence[str], actor: Actor, _start: datetime) -> Outcome:
    return each.delete(session, user_ids, actor=actor)


def _open_links(session: Session, _wanted: Wanted, user_ids: Sequence[str], actor: Actor, start: datetime) -> Outcome:
    return password_links.open_each(session, user_ids, start=start, actor=actor)


def _restore(session: Session, _wanted: Wanted, user_ids: Sequence[str], actor: Actor, _start: datetime) -> Outcome:
    other = aliased(User)
    has = other.email_key == User.email_key
    with_taken = select(User.id).join(other, has).where(User.id.in_(user_ids), other.deleted_at.is_(None))
    taken = set(session.scalars(with_taken.where(User.deleted_at.is_not(None))))

    def require_free(user: User) -> None:
        if user.id in taken and user.deleted_at is not None:
            raise Conflict(user_id=None, show_user_id=False)

    return each.restore(session, user_ids, actor=actor, precondition=require_free)


_ACTS: dict[Act, Callable[[Session, Wanted, Sequence[str], Actor, datetime], Outcome]] = {
    Act.DEACTIVATE: _set_active,
    Act.DELETE: _delete,
    Act.LINKS: _open_links,
    Act.REACTIVATE: _set_active,
    Act.RESTORE: _restore,
    Act.ROLE: _give_role,
}


def do_to_first(session: Session, wanted: Wanted, user_ids: Sequence[str], *, actor: Actor, start: datetime) -> _Fates:
    """Do the act as `do` does, to all or to the first of the users: to fewer and fewer while an email is taken.

    So two of them with the same email, or one whose email is taken at this moment, hold up no others.
    """
    while True:
        try:
            with session.begin_nested():
                return do(session, wanted, user_ids, actor=actor, start=start)
        except IntegrityError as error:
            if not user_creation.is_taken(error):
                raise
            if len(user_ids) == 1:
                return {user_ids[0]: Conflict.code}
            user_ids = user_ids[: len(user_ids) // 2]
