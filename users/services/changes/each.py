"""The acts on each of some users, in the transaction of the caller, who has reauthorized the actor.

Each user is changed or refused by themselves, with an audit row of their own. The statements are for all of them: of
thousands of users, most of the time was spent on a statement for each.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from users.actors import Actor
from users.audit import trail
from users.audit.trail import Action
from users.auth import attempt_limits, known_networks, sessions
from users.auth.factors import held
from users.roles import Permission, Role, needed_to_act_on, permissions_of
from users.rules.validation import CHANGE_FIELDS, COLUMN_FIELDS, UserChanges
from users.services import api_keys
from users.services.changes.outcomes import EVEN_DELETED, Administrators, Outcome, Precondition, of_each
from users.storage.models import User

# A change of one of these ends the user's password link: an operator could else keep a link until the user is an
# administrator.
_END_LINK = {"email_key", "global_role_id", "is_active", "password_hash"}
_Values = dict[str, Any]  # columns of a user that change


def change(
    session: Session,
    user_ids: Sequence[str],
    changes: UserChanges,
    password_hash: str | None = None,
    *,
    actor: Actor,
    precondition: Precondition | None = None,
) -> Outcome:
    """Do `user_changes.update_user` to each user. Raises the IntegrityError of a taken email."""
    administrators = Administrators(session) if changes.given & {"is_active", "global_role_id"} else None
    values_of: dict[str, _Values] = {}

    def change_one(user: User, now: datetime) -> bool:
        values = _differences(user, changes, password_hash)
        if "global_role_id" in values:
            _require_may_assign(user, values["global_role_id"], actor)
        if "password_hash" in values and needed_to_act_on(user.global_role_id):
            actor.require_confirmation()
        if administrators and not _stays_administrator(values):
            administrators.require_another(user)
        if values:
            _set(user, values, now)
            values_of[user.id] = values
        if administrators:
            administrators.note(user)
        return bool(values)

    outcome = of_each(session, user_ids, change_one, actor=actor, precondition=precondition)
    if ended := [user_id for user_id, values in values_of.items() if _ends_sessions(values)]:
        sessions.end_all(session, *ended)
    if password_hash and outcome.changed:
        known_networks.forget(session, list(outcome.changed))
        attempt_limits.unlock(session, *outcome.changed.values())
    acts = [_act(user, values_of[user_id]) for user_id, user in outcome.changed.items()]
    trail.record_each(session, acts, actor, outcome.at)
    return outcome


def delete(
    session: Session, user_ids: Sequence[str], *, actor: Actor, precondition: Precondition | None = None
) -> Outcome:
    """Do `user_changes.delete_user` to each user."""
    administrators = Administrators(session)

    def delete_one(user: User, now: datetime) -> bool:
        administrators.require_another(user)
        user.deleted_at = now
        user.touch(now)
        administrators.note(user)
        return True

    outcome = of_each(session, user_ids, delete_one, actor=actor, precondition=precondition)
    _end_access(session, outcome.changed.values())
    trail.record_each(session, [(Action.USER_DELETE, user_id, []) for user_id in outcome.changed], actor, outcome.at)
    return outcome


def restore(
    session: Session, user_ids: Sequence[str], *, actor: Actor, precondition: Precondition | None = None
) -> Outcome:
    """Do `user_changes.restore_user` to each user. Raises the IntegrityError of a taken email."""

    def restore_one(user: User, now: datetime) -> bool:
        if user.deleted_at is None:
            return False
        if needed_to_act_on(user.global_role_id):  # as for giving such a role
            actor.require_confirmation()
        user.deleted_at = None
        user.touch(now)
        user.email_changed_at = user.updated_at  # ends the links that verify the email
        return True

    outcome = of_each(session, user_ids, restore_one, actor=actor, precondition=precondition, users=EVEN_DELETED)
    # Once more: an older version that deleted the user did not know all of it.
    _end_access(session, outcome.changed.values())
    api_keys.revoke_all_of(session, list(outcome.changed), actor)
    trail.record_each(session, [(Action.USER_RESTORE, user_id, []) for user_id in outcome.changed], actor, outcome.at)
    return outcome


def _end_access(session: Session, users: Collection[User]) -> None:
    """Deactivate the users and end all with which they get in but the password, and the API keys."""
    if not users:
        return
    for user in users:
        user.is_active = False
        user.password_link_ends_at = None
    user_ids = [user.id for user in users]
    sessions.end_all(session, *user_ids)
    held.forget(session, *user_ids)
    known_networks.forget(session, user_ids)
    attempt_limits.unlock(session, *users)


def _differences(user: User, changes: UserChanges, password_hash: str | None) -> _Values:
    """Return the columns of `user` that are to change, with their new values."""
    plain = changes.given & set(COLUMN_FIELDS)
    values = {name: getattr(changes, name) for name in plain if getattr(changes, name) != getattr(user, name)}
    if changes.email and user.email not in (changes.email.text, changes.email_as_sent):
        if changes.bad_email:
            raise changes.bad_email
        values["email"] = changes.email.text
        if changes.email.key != user.email_key:  # another email, not another spelling
            values |= {"email_key": changes.email.key, "last_verified": None}
    return values | ({"password_hash": password_hash} if password_hash else {})


def _require_may_assign(user: User, role: Role | None, actor: Actor) -> None:
    """Raise Denied if the actor does not hold all that the role gives. `of_each` has checked the old role.

    Raises ConfirmationNeeded if the role is `role_admin`, and if the old one gives permissions: without them, another's
    password is set without a proof.
    """
    actor.require(Permission.ROLES_ASSIGN, *permissions_of(role))
    if role is Role.ADMIN or needed_to_act_on(user.global_role_id):
        actor.require_confirmation()


def _stays_administrator(values: _Values) -> bool:
    return values.get("is_active") is not False and values.get("global_role_id", Role.ADMIN) == Role.ADMIN


def _set(user: User, values: _Values, now: datetime) -> None:
    for name, value in values.items():
        setattr(user, name, value)
    user.touch(now)
    if values.keys() & _END_LINK:
        user.password_link_ends_at = None
    if "email" in values:
        user.email_changed_at = user.updated_at  # always later than before, also if the clock was set back
    if "password_hash" in values:
        user.password_changed_at = now


def _ends_sessions(values: _Values) -> bool:
    # With the flag, a session sets a new password without the present one: a stolen session of before must not.
    return bool(values.keys() & {"password_hash", "is_active"} or values.get("password_change_required"))


def _act(user: User, values: _Values) -> tuple[Action, str, list[str]]:
    """Return the action, the user and the fields for the audit row."""
    fields = [name for name in CHANGE_FIELDS if name in values or (name == "password" and "password_hash" in values)]
    return _action(user, fields), user.id, fields


def _action(user: User, fields: list[str]) -> Action:
    """Return the action: a change of the password, or of is_active alone, has its own."""
    if set(fields) - {"password_change_required"} == {"password"}:
        return Action.USER_SET_PASSWORD
    if fields == ["is_active"]:
        return Action.USER_REACTIVATE if user.is_active else Action.USER_DEACTIVATE
    return Action.USER_UPDATE
