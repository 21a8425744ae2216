"""The pages for everybody who signs in: the way in, the way out, and your account. `guards` guards them."""

from flask import g, redirect, render_template, request, url_for

from users import settings
from users.audit import trail
from users.auth import sessions, signin
from users.blueprint import bp
from users.form_errors import FormRefused
from users.http import csrf, session_cookie
from users.pages import forms, guards, login_redirect
from users.pages.guards import Answer, page, public
from users.passwords.hashing import WrongPassword
from users.rules import validation
from users.services import setup_link

_DONE = {"password": trail.Action.USER_SET_PASSWORD, "sessions": trail.Action.SESSION_END_OTHERS}


@bp.get("/")
@public()
def show_home() -> Answer:
    """Lead to the users, or to set-up while there is no administrator."""
    return redirect(login_redirect.home() if setup_link.is_over() else url_for("users.show_setup"), 303)


@bp.get("/admin")
@public()
def show_admin() -> Answer:
    """Lead to the users."""
    return redirect(login_redirect.home(), 303)


@bp.get("/admin/login")
@public()
def show_login() -> Answer:
    """Ask for email and password; somebody signed in goes on."""
    there, kept = (
        login_redirect.local_path(request.values.get("next", login_redirect.home())),
        login_redirect.kept_fields(),
    )
    if "user" in g and not (guards.changes() and csrf.token_is_valid()):  # signed in meanwhile, in another tab
        g.problems = []
        return login_redirect.resume(there, kept)
    return login_redirect.login_page(there, kept)


@bp.post("/admin/login")
@public(again=show_login)
def sign_in() -> Answer:
    """Sign in and lead to `next`, to the form there as it was filled if the sign-in interrupted one."""
    given, kept = forms.LoginForm().data, login_redirect.kept_fields()
    try:
        user, session_id = signin.sign_in(
            given["email"] or "",
            given["password"] or "",
            device=session_cookie.device(),
            replacing=g.get("session_id", ""),
            actor=g.actor,
        )
    except WrongPassword:
        raise FormRefused({"email": "The email address or password is wrong"}) from None
    there = login_redirect.local_path(request.form.get("next", login_redirect.home()))
    session_cookie.enter(user, session_id)
    return login_redirect.resume(there, kept)


@bp.get("/admin/account")
@page()
def show_account() -> Answer:
    """Show who is signed in, the form for a new password, and how many other sessions there are."""
    others = sessions.count_others(g.user.id, g.session_id)
    done = request.args.get("done", "")
    return render_template(
        "account/account.html",
        form=forms.OwnPasswordForm(),
        others=others,
        rules=settings.current().rules,
        done=done if done in _DONE and trail.is_newest(g.user.id, _DONE[done]) else None,
    )


@bp.post("/admin/account")
@page(again=show_account)
def change_own_password() -> Answer:
    """Change the password with the current one; the user's other sessions end."""
    given, found = forms.OwnPasswordForm().data, guards.Findings()
    if not given["current_password"]:
        found.problems["current_password"] = "Enter your current password"  # noqa: S105  (words, not a password)
    with found.noted():
        new = validation.new_password(given["password"], settings.current().rules)
    found.refuse()
    try:
        user, session_id = signin.change_password(
            g.user, given["current_password"], new, device=session_cookie.device(), actor=g.actor
        )
    except WrongPassword:
        raise FormRefused({"current_password": "The current password is wrong"}) from None
    session_cookie.enter(user, session_id)
    return redirect(url_for("users.show_account", done="password"), 303)


@bp.post("/admin/account/sessions")
@page(again=show_account)
def end_other_sessions() -> Answer:
    """End the user's sessions but this one."""
    signin.end_other_sessions(g.session_id, actor=g.actor)
    return redirect(url_for("users.show_account", done="sessions"), 303)


@bp.post("/admin/logout")
@page(again=show_account, ended=guards.signed_out)
def sign_out() -> Answer:
    """End this session everywhere; one that has ended already is only forgotten."""
    signin.sign_out(g.session_id, actor=g.actor)
    return guards.signed_out()
