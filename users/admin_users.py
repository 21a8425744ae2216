"""The pages about users: the list, the sign-up form, one user and what can be done with it."""

import shlex
from typing import Any
from urllib.parse import urlencode

from flask import g, redirect, render_template, request

from users import (
    audit,
    audit_words,
    bp,
    clock,
    detour,
    directory,
    emails,
    forms,
    ids,
    pages,
    service,
    service_changes,
    settings,
    validation,
)
from users.errors import UserNotFound
from users.models import User
from users.pages import Answer, page
from users.refusals import UserChanged
from users.roles import Permission, Role, permissions_of

_ACCOUNT = "/admin/account"
_LONGEST_SEARCH = 512  # two names and a space; the page repeats it in every link
_DONE = {
    "created": audit.Action.USER_CREATE,
    "deactivated": audit.Action.USER_DEACTIVATE,
    "password": audit.Action.USER_SET_PASSWORD,
}


@bp.get("/admin/users")
@page(Permission.USERS_READ)
def show_users() -> Answer:
    """List the users, newest first: those that `?q=` finds, and that `?status=` names."""
    q = request.args.get("q", "").strip()[:_LONGEST_SEARCH]
    status = request.args.get("status", "")
    shown = status if status in directory.SHOWN else "all"
    found = directory.find(q, shown, before=_id_in("before"), after=_id_in("after"))
    return render_template("users.html", page=found, q=q, shown=shown, new=_could_be_made(q, found), href=_list_href)


@bp.get("/admin/users/new")
@page(Permission.USERS_CREATE)
def show_new_user() -> Answer:
    """Show the sign-up form, `?email=` filled in."""
    form = forms.UserForm(_roles_to_offer(), email=request.args.get("email"))
    return render_template("user_new.html", form=form, rules=settings.current().rules)


@bp.post("/admin/users/new")
@page(Permission.USERS_CREATE, again=show_new_user)
def add_user() -> Answer:
    """Create the user and lead to its page; with a generated password, show that now, this once."""
    form = forms.UserForm(_roles_to_offer())
    rules = settings.current().rules
    password = form.password_or_new(rules)
    given = {**form.given(*validation.ADMIN_FIELDS), "password": password}
    user = service.create_user(validation.new_user(given, rules, fields=validation.ADMIN_FIELDS), actor=g.actor)
    if form.generates:
        return render_template("user_password_shown.html", password=password, created=True, **_about(user))
    return redirect(f"{detour.HOME}/{user.id}?done=created", 303)


@bp.get("/admin/users/<user_id>")
@page(Permission.USERS_READ)
def show_user(user_id: str) -> Answer:
    """Show one user, what happened to it lately, and what can be done with it."""
    user = _user(user_id)
    return render_template("user.html", events=_events(user), done=_done(user), **_about(user))


@bp.get("/admin/users/<user_id>/password")
@page(Permission.USERS_UPDATE)
def show_set_password(user_id: str) -> Answer:
    """Show the form for a user's new password."""
    if user_id == g.user.id:  # nobody's own password is changed without the current one
        return redirect(_ACCOUNT, 303)
    user = _user_for_change(user_id)
    return render_template("user_password.html", form=forms.PasswordForm(), user=user, rules=settings.current().rules)


@bp.post("/admin/users/<user_id>/password")
@page(Permission.USERS_UPDATE, again=show_set_password)
def set_user_password(user_id: str) -> Answer:
    """Give the user a new password and lead to its page; a generated one is shown now, this once."""
    if user_id == g.user.id:
        return redirect(_ACCOUNT, 303)
    user, form = _user(user_id), forms.PasswordForm()
    if forms.mark() != user.updated_at.isoformat():
        raise UserChanged
    password = form.password_or_new(settings.current().rules)
    new = validation.new_password(password, settings.current().rules)
    unchanged = service_changes.unchanged_since(user.updated_at)
    user = service_changes.set_password(user.id, new, actor=g.actor, condition=unchanged)
    if form.generates:
        return render_template("user_password_shown.html", password=password, created=False, **_about(user))
    return redirect(f"{detour.HOME}/{user.id}?done=password", 303)


@bp.get("/admin/users/<user_id>/deactivate")
@page(Permission.USERS_UPDATE)
def show_deactivate(user_id: str) -> Answer:
    """Ask whether the user is to be deactivated."""
    return render_template("user_deactivate.html", user=_user_for_change(user_id))


@bp.post("/admin/users/<user_id>/deactivate")
@page(Permission.USERS_UPDATE, again=show_deactivate)
def deactivate_user(user_id: str) -> Answer:
    """Deactivate the user."""
    user = service_changes.deactivate_user(_user(user_id).id, actor=g.actor)
    if user.id == g.user.id:
        return pages.signed_out()
    return redirect(f"{detour.HOME}/{user.id}?done=deactivated", 303)


def _roles_to_offer() -> list[Role]:
    """Return the roles that the administrator may give: nobody grants what they do not hold."""
    held: frozenset[Permission] = g.actor.permissions
    return [role for role in Role if Permission.ROLES_ASSIGN in held and role.permissions <= held]


def _user(user_id: str) -> User:
    # By form first: Postgres takes no NUL, which a path can hold, in a text.
    if not ids.is_user_id(user_id):
        raise UserNotFound
    return service.get_user(user_id)


def _user_for_change(user_id: str) -> User:
    """Return the user if the administrator may change it, as `service` will judge when the form is sent."""
    user = _user(user_id)
    g.actor.require(*permissions_of(user.global_role_id))
    return user


def _id_in(parameter: str) -> str | None:
    given = request.args.get(parameter, "")
    return given if ids.is_user_id(given) else None


def _list_href(q: str, shown: str, **place: str) -> str:
    """Return where the list shows this; `place` is the `before` or `after` of a page that is not the first."""
    asked = {"q": q, "status": "" if shown == "all" else shown, **place}
    query = urlencode({name: value for name, value in asked.items() if value})
    return f"{detour.HOME}?{query}" if query else detour.HOME


def _could_be_made(q: str, found: directory.Page) -> bool:
    """Tell whether an address was looked for that nobody has and that the administrator may give to a new user."""
    if found.counts["all"].number or Permission.USERS_CREATE not in g.actor.permissions:
        return False
    try:
        return bool(emails.lookup_key(q))
    except emails.BadEmail:
        return False


def _about(user: User) -> dict[str, Any]:
    """Return what every page about one user shows."""
    held: frozenset[Permission] = g.actor.permissions
    return {
        "user": user,
        "full_name": user.as_profile()["full_name"],
        "may_change": Permission.USERS_UPDATE in held and permissions_of(user.global_role_id) <= held,
        "is_new": clock.now() - user.created_at < clock.A_MOMENT,
        "likely": emails.likely_meant(user.email),
        "address": pages.address(),
        "same_act": _same_act(user),
    }


def _same_act(user: User) -> dict[str, str]:
    """Return the creation of `user` as a call of the API and as a command, with placeholders for what is secret."""
    names = {name: value for name in ("first_name", "last_name") if (value := getattr(user, name))}
    body = {"email": user.email, **names, "password": "PASSWORD"}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in names.items()]
    options += [f"--role={user.global_role_id}"] if user.global_role_id else []
    email = ["--", user.email] if user.email.startswith("-") else [user.email]
    return {
        "curl": pages.curl("/v1/user/", body),
        "command": shlex.join(["flask", "users", "create", *options, "--generate-password", *email]),
    }


def _done(user: User) -> str | None:
    """Return what `?done=` says has just happened, if the audit trail says so too: a link proves nothing."""
    done = request.args.get("done", "")
    return done if done in _DONE and audit.is_newest(user.id, _DONE[done]) else None


def _events(user: User) -> list[audit_words.Told]:
    """Return what happened to the user lately, as sentences, to those who may read it."""
    if Permission.AUDIT_READ not in g.actor.permissions:
        return []
    return audit_words.tell(audit.recent(user.id), about=user.id)
