"""The pages that change one user: edit, verify, deactivate, delete, restore… Passwords: `user_passwords`."""

from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

from flask import flash, g, redirect, render_template, request, url_for

from users import settings
from users.actors import Actor
from users.auth import attempt_limits, session_list, sessions
from users.blueprint import bp
from users.form_errors import EmailChanged, Outdated, UserDeleted, UserEdited
from users.http import urls
from users.pages import forms, login_redirect
from users.pages.forms import NO_DATA, FormData
from users.pages.guards import PageResponse, page
from users.pages.lists import way_back
from users.pages.problems import Problem
from users.roles import Permission, Role, grantable_by, needed_to_act_on, permissions_of
from users.rules import emails, validation
from users.rules.validation import UserChanges
from users.services import user_changes, user_queries
from users.services.links import email_verification
from users.storage.models import User

# The labels of the fields of the edit form. The others are set with the password.
_NOT_EDITED = ("password", "password_change_required")
_EDITED = {one.name: one.label for one in validation.PROFILE_FIELDS if one.in_forms and one.name not in _NOT_EDITED}


@bp.get("/admin/users/<user_id>/edit")
@page(Permission.USERS_UPDATE)
def show_edit_user(user_id: str, formdata: FormData | None = None) -> PageResponse:
    """Show the form for the user's profile, with `?email=` in place of the email."""
    return _edit_page(user_for_change(user_id), formdata or NO_DATA)


@bp.post("/admin/users/<user_id>/edit")
@page(Permission.USERS_UPDATE, again=show_edit_user)
def edit_user(user_id: str) -> PageResponse:
    """Save what was changed in the form and lead to the user. Ask before an administrator's role is taken away."""
    user, typed, seen = user_for_change(user_id), _typed(request.form), _seen(request.form)
    if typed.keys() != seen.keys():
        raise Outdated
    _require_as_seen(user)
    given = {name: value for name, value in typed.items() if value != seen[name]}
    if not given:
        return _nothing_to_save(user, request.form)
    changes = validation.user_changes(given, settings.current().rules)
    if _ends_administration(user, changes) and "confirmed" not in request.form:
        g.actor.require_confirmation()  # first: after it the form is shown again, not the question
        return render_template("users/demote.html", user=user, typed=typed, seen=seen)
    saved = user_changes.update_user(user.id, changes, actor=g.actor, precondition=_require_as_seen)
    if saved.updated_at == user.updated_at and _shown(user) == seen:  # but not if the form was sent twice
        return _nothing_to_save(user, request.form)
    return lead_to(saved, "Changes saved")


@bp.get("/admin/users/<user_id>/verify")
@page(Permission.USERS_UPDATE)
def show_verify_user(user_id: str, formdata: FormData | None = None) -> PageResponse:
    """Show the two ways to verify the user's email: mark it as verified, or make a link."""
    return render_template("users/verify.html", user=user_for_change(user_id), base_url=urls.base_url())


@bp.post("/admin/users/<user_id>/verify")
@page(Permission.USERS_UPDATE, again=show_verify_user)
def verify_user(user_id: str) -> PageResponse:
    """Mark the email that the form showed as verified."""
    user = user_changes.verify_user(user_for_change(user_id).id, actor=g.actor, precondition=_require_email)
    return lead_to(user, "Email address marked as verified")


@bp.post("/admin/users/<user_id>/verification")
@page(Permission.USERS_UPDATE, again=show_verify_user)
def make_verification_link(user_id: str) -> PageResponse:
    """Make a link that verifies the user's email and show it once."""
    user = user_for_change(user_id)
    base_url = urls.absolute_url("")  # raises before anything is written
    issued = email_verification.issue(user.id, actor=g.actor)
    link = urls.link(base_url, "users.show_verify", issued.token)
    return render_template("users/verify_link.html", user=issued.user, link=link, expires_at=issued.expires_at)


class _Act(Protocol):
    def __call__(self, user_id: str, *, actor: Actor) -> User: ...


def _add_confirmed(
    verb: str,
    act: _Act,
    message: str,
    *,
    is_done: Callable[[User], bool],
    permission: Permission = Permission.USERS_UPDATE,
    needs_confirmation: bool = False,
) -> None:
    """Add the two views of an act that asks first: the page with the question, and the act itself."""
    path = f"/admin/users/<user_id>/{verb}"

    def ask(user_id: str, formdata: FormData | None = None) -> PageResponse:
        user = user_for_change(user_id)
        if needs_confirmation:
            g.actor.require_confirmation()
        return render_template(f"users/{verb}.html", user=user, is_done=is_done(user))

    def do(user_id: str) -> PageResponse:
        return lead_to(act(user_for_change(user_id).id, actor=g.actor), message)

    ask.__name__, do.__name__ = f"confirm_{verb}", f"{verb}_confirmed"  # the endpoints
    question = bp.get(path)(page(permission)(ask))
    bp.post(path)(page(permission, again=question)(do))


_add_confirmed("deactivate", user_changes.deactivate_user, "User deactivated", is_done=lambda user: not user.is_active)
_add_confirmed("reactivate", user_changes.reactivate_user, "User reactivated", is_done=lambda user: user.is_active)
_add_confirmed(
    "sessions",
    user_changes.end_sessions,
    "All sessions of this user have ended",
    is_done=lambda user: not session_list.of_user(user.id),
)
_add_confirmed(
    "unlock",
    user_changes.unlock_user,
    "User unlocked. They can try their password again",
    is_done=lambda user: not attempt_limits.is_locked(user),
)
_add_confirmed(
    "delete",
    user_changes.delete_user,
    "User deleted",
    is_done=lambda _: False,
    permission=Permission.USERS_DELETE,
    needs_confirmation=True,
)


@bp.get("/admin/users/<user_id>/restore")
@page(Permission.USERS_DELETE)
def confirm_restore(user_id: str, formdata: FormData | None = None) -> PageResponse:
    """Ask before a deleted user is restored, or say who has the email by now."""
    user = _even_deleted(user_id)
    if user.deleted_at and needed_to_act_on(user.global_role_id):
        g.actor.require_confirmation()
    holder = user_queries.find_holder(user.email_key)
    return render_template("users/restore.html", user=user, holder=holder, is_done=not user.deleted_at)


@bp.post("/admin/users/<user_id>/restore")
@page(Permission.USERS_DELETE, again=confirm_restore)
def restore_confirmed(user_id: str) -> PageResponse:
    """Restore the deleted user and lead to their page, where they can be reactivated."""
    user = user_changes.restore_user(_even_deleted(user_id).id, actor=g.actor)
    if user.is_active:  # restored and reactivated while the question was open
        return lead_to(user, "Nothing to restore: this user is active")
    return lead_to(user, "User restored, and deactivated until you reactivate them")


def _even_deleted(user_id: str) -> User:
    user = user_queries.get_user_even_deleted(user_id)
    g.actor.require(*needed_to_act_on(user.global_role_id))
    return user


def user_for_change(user_id: str) -> User:
    """Return the user if the administrator may change them. `user_changes` checks it again in the transaction."""
    user = user_queries.get_user_even_deleted(user_id)
    if user.deleted_at:
        raise UserDeleted(user.id)
    g.actor.require(*needed_to_act_on(user.global_role_id))
    return user


def lead_to(user: User, message: str) -> PageResponse:
    """Lead to the page of `user`, who was changed, or to the list; `message` is shown there and on no other page.

    An administrator who has deactivated themselves is signed out; one who has given up the permission to see users is
    led to their account.
    """
    path = way_back.path() if user.deleted_at else url_for("users.show_user", user_id=user.id)
    if user.id == g.user.id:
        if not sessions.may_sign_in(user):
            return login_redirect.signed_out()
        if Permission.USERS_READ not in permissions_of(user.global_role_id):
            path = url_for("users.show_account")
    flash(message, urlsplit(path).path)
    return redirect(path, 303)


def _edit_page(user: User, formdata: FormData) -> PageResponse:
    """Return the form as it was sent. A field that was not changed in it shows the user's newest value."""
    now, seen, typed = _shown(user), _seen(formdata), _typed(formdata)
    shown = {**now, "email": request.args.get("email", user.email)}
    form = forms.EditForm(grantable_by(g.actor.permissions), formdata, **shown)
    for name in _changed_meanwhile(user, formdata):
        is_typed = typed.get(name, seen[name]) != seen[name]
        if not is_typed:
            form[name].data = now[name]
        g.problems = [*g.get("problems", []), Problem(_change_message(name, now[name], is_typed), name)]
    return render_template("users/edit.html", form=form, user=user, now=now)


def _nothing_to_save(user: User, formdata: FormData) -> PageResponse:
    g.notice = "Nothing was changed, so there was nothing to save"
    return _edit_page(user, formdata)


def _shown(user: User) -> dict[str, str]:
    """Return the fields that the form shows to this administrator."""
    names = [name for name in _EDITED if name != "global_role_id" or Permission.ROLES_ASSIGN in g.actor.permissions]
    return {name: getattr(user, name) or "" for name in names}


def _seen(formdata: FormData) -> dict[str, str]:
    """Return the values that the form showed when it was opened."""
    return {name: formdata[f"was-{name}"] for name in _EDITED if f"was-{name}" in formdata}


def _typed(formdata: FormData) -> dict[str, str]:
    """Return the values that the form asks for."""
    return {name: formdata[name].strip() for name in _EDITED if name in formdata}


def _changed_meanwhile(user: User, formdata: FormData) -> list[str]:
    """Return the fields that another request changed, unless to the value that the form asks for (sent twice)."""
    now, seen, typed = _shown(user), _seen(formdata), _typed(formdata)
    differ = [name for name in now if name in seen and now[name] not in (seen[name], typed.get(name))]
    return [name for name in differ if name != "email" or not _is_same_email(now[name], typed.get(name, ""))]


def _is_same_email(stored: str, typed: str) -> bool:
    """Tell whether both are the same email; the stored spelling may differ."""
    keys = [{possible.key for possible in emails.possible_emails(text)} for text in (stored, typed)]
    return bool(keys[0] & keys[1])


def _change_message(name: str, now: str, is_typed: bool) -> str:
    # U+2068 and U+2069 isolate a name that is written from right to left.
    shown = _role_words(now) if name == "global_role_id" else f"“\u2068{now}\u2069”"
    words = f"{_EDITED[name]} was {f'changed to {shown}' if now else 'removed'} meanwhile"
    return f"{words}. Saving puts yours in its place" if is_typed else words


def _role_words(role: str) -> str:
    return forms.ROLE_WORDS[Role(role)][0] if role in set(Role) else role


def _ends_administration(user: User, changes: UserChanges) -> bool:
    takes_role = "global_role_id" in changes.given and changes.global_role_id != Role.ADMIN
    return takes_role and user.global_role_id == Role.ADMIN


# Conditions: whether the user is as the form showed them. They are checked with the user's row locked.


def _require_as_seen(user: User) -> None:
    if _changed_meanwhile(user, request.form):
        raise UserEdited


def _require_email(user: User) -> None:
    if forms.mark() != user.email:
        raise EmailChanged
