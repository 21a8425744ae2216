"""The sign-up form for users, and the page of one user."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from flask import flash, g, get_flashed_messages, redirect, render_template, request, url_for

from users import clock, settings
from users.audit import trail
from users.auth import attempt_limits, session_list
from users.auth.factors import held
from users.blueprint import bp
from users.http import urls
from users.pages import audit_sentences, forms, user_passwords
from users.pages.forms import FormData
from users.pages.guards import PageResponse, page
from users.roles import Permission, grantable_by, needed_to_act_on
from users.rules import emails, validation
from users.services import second_factors, user_creation, user_queries
from users.services.links import password_links
from users.storage.models import User


@bp.get("/admin/users/new")
@page(Permission.USERS_CREATE)
def show_new_user(formdata: FormData | None = None) -> PageResponse:
    """Show the sign-up form, `?email=` filled in."""
    base_url, email = urls.base_url(), request.args.get("email")
    form = forms.UserForm(grantable_by(g.actor.permissions), formdata, can_link=base_url is not None, email=email)
    return render_template("users/new.html", form=form, base_url=base_url, rules=settings.current().rules)


@bp.post("/admin/users/new")
@page(Permission.USERS_CREATE, again=show_new_user)
def add_user() -> PageResponse:
    """Create the user and lead to their page. A link or a generated password is shown now and never again."""
    form = forms.UserForm(grantable_by(g.actor.permissions), request.form)
    if form.makes_link:
        return _invite(form)
    rules = settings.current().rules
    password = form.password_or_new(rules)
    given = {**form.given(*validation.ADMIN_FIELDS), "password": password}
    user = user_creation.create_user(validation.new_user(given, rules, fields=validation.ADMIN_FIELDS), actor=g.actor)
    if form.generates:
        return render_template("users/password_shown.html", password=password, created=True, **_about(user))
    flash(user.id, "created")
    return redirect(url_for("users.show_user", user_id=user.id), 303)


@bp.get("/admin/users/<user_id>")
@page(Permission.USERS_READ)
def show_user(user_id: str) -> PageResponse:
    """Show one user, their recent events and, to those who may change them, their sessions and acts."""
    user = user_queries.get_user_even_deleted(user_id)
    about = _about(user)
    locked = about["may_change"] and attempt_limits.is_locked(user)
    factors = held.of_user(user.id) if about["may_change"] and not user.deleted_at else None
    created = user.id in get_flashed_messages(category_filter=["created"])
    return render_template(
        "users/user.html",
        events=_events(user),
        created=created,
        locked=locked,
        has_factor=bool(factors),
        second_factor=None if factors is None else second_factors.in_words(factors),
        may_restore=_may_restore(user),
        holder=user_queries.find_holder(user.email_key) if user.deleted_at else None,
        sessions=session_list.of_user(user.id) if about["may_change"] and user.id != g.user.id else [],
        **about,
    )


def _invite(form: forms.UserForm) -> PageResponse:
    base_url, fields = urls.absolute_url(""), validation.ADMIN_INVITE_FIELDS  # raises before anything is written
    new, _ = validation.invitation(form.given(*fields), settings.current().rules, fields=fields)
    link = password_links.invite(new, actor=g.actor)
    about = _about(link.user) | user_passwords.about_link(link, base_url)
    return render_template("users/password_link.html", created=True, **about)


def _about(user: User) -> dict[str, Any]:
    """Return what each page about one user shows."""
    held: frozenset[Permission] = g.actor.permissions
    return {
        "user": user,
        "may_change": Permission.USERS_UPDATE in held and needed_to_act_on(user.global_role_id) <= held,
        "is_new": clock.now() - user.created_at < clock.RECENT,
        "likely": emails.likely_meant(user.email),
        "password_mark": user_passwords.mark_of(user),
        "base_url": urls.base_url(),
        "api_call": _as_api_call(user),
    }


def _may_restore(user: User) -> bool:
    """Tell whether the user is deleted and the administrator may restore them."""
    held: frozenset[Permission] = g.actor.permissions
    is_deleted = user.deleted_at is not None
    return is_deleted and Permission.USERS_DELETE in held and needed_to_act_on(user.global_role_id) <= held


def _as_api_call(user: User) -> dict[str, str | None]:
    """Return the creation of `user` as a call of the API and as a command, with placeholders for secrets.

    The members in `more`, as JSON, need a second call.
    """
    texts = {one.name: value for one in validation.TEXT_FIELDS if (value := getattr(user, one.name))}
    path, password = ("/v1/user/", {"password": "PASSWORD"}) if user.has_password else ("/v1/user/invite", {})
    more = {"global_role_id": user.global_role_id, "password_change_required": user.password_change_required}
    needed = {name: value for name, value in more.items() if value}
    return {
        "curl": urls.curl(path, {"email": user.email, **texts, **password}),
        "more": json.dumps(needed) if needed else None,
        "command": _as_command(user, texts),
    }


def _as_command(user: User, texts: Mapping[str, str]) -> str:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in texts.items()]
    options += [f"--role={user.global_role_id}"] if user.global_role_id else []
    options += ["--must-change"] if user.password_change_required else []
    options += ["--generate-password"] if user.has_password else ["--link"]
    if not (user.has_password or settings.current().public_url):  # no request tells a command the address
        options.append(f"--base-url={urls.base_url() or urls.PLACEHOLDER_URL}")
    email = ["--", user.email] if user.email.startswith("-") else [user.email]
    return shlex.join(["flask", "users", "create", *options, *email])


def _events(user: User) -> list[audit_sentences.DescribedEvent]:
    """Return the user's recent events as sentences, if the administrator may read them."""
    if Permission.AUDIT_READ not in g.actor.permissions:
        return []
    return audit_sentences.describe(trail.recent(user.id), about=user.id)
