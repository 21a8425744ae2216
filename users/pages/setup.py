"""The first run: the page of the set-up link, then the page of the three first steps."""

from dataclasses import replace

from flask import g, make_response, redirect, render_template, request, url_for

from users import settings
from users.actors import ActorKind
from users.auth import signin
from users.blueprint import bp
from users.http import session_cookie, urls
from users.pages import forms, login_redirect
from users.pages.forms import FormData
from users.pages.guards import PageResponse, page, public
from users.roles import ALL_PERMISSIONS, Permission, Role, permissions_of
from users.rules import validation
from users.rules.validation import Rules
from users.services import api_keys, first_steps, user_queries
from users.services.links import setup_link


@bp.get("/setup")
@public()
def show_setup(formdata: FormData | None = None) -> PageResponse:
    """Show the form for the first administrator to a browser with the link; to others, the command to run."""
    if setup_link.is_over():  # another browser may have been quicker, or this is a second click
        return make_response(render_template("setup/over.html"), 404)
    token = request.args.get("token", "")
    if setup_link.is_token(token):  # out of the address bar, the history and every log at once
        session_cookie.set_cookie(
            session_cookie.cookie_name("setup"), token, max_age=int(setup_link.LIFETIME.total_seconds())
        )
        return redirect(url_for("users.show_setup"), 303)
    given = request.cookies.get(session_cookie.cookie_name("setup"), "")
    if not setup_link.is_valid(given):
        return render_template("setup/no_link.html", ended=bool(given), command=_command())
    return render_template("setup/form.html", form=forms.SetupForm(formdata), rules=_rules())


def _rules() -> Rules:
    return settings.current().rules_for_own_password(Role.ADMIN)


def _command() -> str:
    """Return the command that prints a new link, with the base URL of this request if no setting says it."""
    base = urls.base_url()
    if base in (None, settings.current().public_url, setup_link.DEFAULT_BASE_URL):
        return "flask setup-link"
    return f"flask setup-link --base-url {base}"


@bp.post("/setup")
@public(again=show_setup)
def set_up() -> PageResponse:
    """Create the first administrator, signed in, and lead to the first steps, or to a second factor before them."""
    token = request.cookies.get(session_cookie.cookie_name("setup"), "")
    setup_link.require_open(token)  # before a password is hashed
    form = forms.SetupForm(request.form)
    new = validation.new_user(form.given(*validation.CREATE_FIELDS), _rules())
    actor = replace(g.actor, kind=ActorKind.SETUP, permissions=ALL_PERMISSIONS, needs_confirmation=False)
    setup_link.create_administrator(replace(new, global_role_id=Role.ADMIN), token, actor=actor)
    started = signin.sign_in(
        new.email.text,
        new.password or "",
        device=session_cookie.device(),
        browser=session_cookie.place().browser,
        actor=g.actor,
    )
    session_cookie.set_cookie(session_cookie.cookie_name("setup"), "", max_age=0)
    session_cookie.start_session(started)
    return login_redirect.lead_on(url_for("users.show_start"))


@bp.get("/admin/start")
@page(Permission.USERS_CREATE, Permission.KEYS_MANAGE)
def show_start() -> PageResponse:
    """Show the three first steps; the data says which are done."""
    words, curl = _first_call()
    return render_template(
        "setup/start.html", steps=first_steps.read(), words=words, curl=curl, base_url=urls.base_url()
    )


def _first_call() -> tuple[str, str | None]:
    """Return what the first call does, and the call: one that works with the newest key. None if no such key can."""
    key = api_keys.newest_active()
    scopes, owner = set(key.scopes) if key else {Permission.USERS_CREATE}, None
    if key and key.owner_id:
        owner = user_queries.get_user(key.owner_id)
        scopes &= permissions_of(owner.global_role_id)
    if Permission.USERS_CREATE in scopes:
        words = "It checks whether a user can be created, and creates none."
        return words, urls.curl("/v1/user/?validate_only=true", _new_user_that_is_valid())
    if owner:
        return "It asks who owns the key.", urls.curl("/v1/user/me")
    if Permission.USERS_READ in scopes:
        return "It asks for one user.", urls.curl("/v1/user/?limit=1")
    return "Your newest key can neither create nor read users. Create one that can.", None


def _new_user_that_is_valid() -> dict[str, str]:
    """Return a body that passes the rules here: the domain may need to receive mail, as the administrator's does."""
    words = "three random words"
    long_enough = " ".join([words] * -(-settings.current().rules.password_min_length // len(words)))
    return {"email": f"first.call@{g.user.email.rpartition('@')[2]}", "password": long_enough}
