"""The sign-in page, the sign-out, and the paths that lead to the users."""

from flask import g, redirect, request, url_for

from users.auth import signin
from users.blueprint import bp
from users.form_errors import FormRefused
from users.http import csrf, session_cookie
from users.pages import forms, guards, login_redirect
from users.pages.account import show_account
from users.pages.forms import NO_DATA, FormData
from users.pages.guards import PageResponse, page, public
from users.passwords.hashing import WrongPassword
from users.services.links import setup_link


@bp.get("/")
@public()
def show_home() -> PageResponse:
    """Lead to `home`, or to set-up while there is no administrator."""
    return redirect(login_redirect.home() if setup_link.is_over() else url_for("users.show_setup"), 303)


@bp.get("/admin")
@public()
def show_admin() -> PageResponse:
    """Lead to the users, or to the account of who may not see them."""
    return redirect(login_redirect.home(), 303)


@bp.get("/admin/login")
@public()
def show_login(formdata: FormData | None = None) -> PageResponse:
    """Ask for email and password; a user who is signed in is led on."""
    target = request.values.get("next", "")
    kept = login_redirect.kept_fields(formdata or NO_DATA)
    if "user" in g and not (guards.is_unsafe() and csrf.token_is_valid()):  # signed in meanwhile, in another tab
        g.problems = []
        return login_redirect.resume(login_redirect.local_path(target), kept)
    return login_redirect.login_page(target, kept, formdata)


@bp.post("/admin/login")
@public(again=show_login)
def sign_in() -> PageResponse:
    """Sign in and lead to `next`. A form that the sign-in interrupted is shown as it was filled."""
    given, kept = forms.LoginForm(request.form).data, login_redirect.kept_fields(request.form)
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
    session_cookie.start_session(user, session_id)
    return login_redirect.resume(login_redirect.local_path(request.form.get("next", "")), kept)


@bp.post("/admin/logout")
@page(again=show_account, ended=login_redirect.signed_out, before_new_password=True)
def sign_out() -> PageResponse:
    """End this session. If it has ended already, only its cookie is removed."""
    signin.sign_out(g.session_id, actor=g.actor)
    return login_redirect.signed_out()
