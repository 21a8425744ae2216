"""The sign-in page, the sign-out, and the path `/`."""

from flask import flash, g, redirect, request, url_for

from users.auth import second_step, signin
from users.auth.factors import recovery_codes
from users.auth.factors.held import Kind, WrongCode
from users.auth.sessions import Stage
from users.blueprint import bp
from users.form_errors import FormRefused
from users.http import csrf, session_cookie
from users.pages import forms, guards, login_redirect
from users.pages.account import factor_answers
from users.pages.account.account import show_account
from users.pages.forms import NO_DATA, FormData
from users.pages.guards import PageResponse, page, public
from users.passwords.hashing import WrongPassword
from users.services.links import setup_link

_AWAITING = frozenset({Stage.FACTOR})


@bp.get("/")
@public()
def show_home() -> PageResponse:
    """Lead to `home`, or to set-up while there is no administrator."""
    return redirect(login_redirect.home() if setup_link.is_over() else url_for("users.show_setup"), 303)


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
        started = signin.sign_in(
            given["email"] or "",
            given["password"] or "",
            device=session_cookie.device(),
            replacing=g.session.id if "session" in g else "",
            browser=session_cookie.place().browser,
            actor=g.actor,
        )
    except WrongPassword:
        raise FormRefused({"email": "The email address or password is wrong"}) from None
    session_cookie.start_session(started)
    target = request.form.get("next", "")
    if started.stage is Stage.FACTOR:
        if kept:
            return login_redirect.factor_page(target, kept)
        return redirect(url_for("users.show_factor", next=target or None), 303)
    return login_redirect.resume(login_redirect.local_path(target), kept)


@bp.get("/admin/login/factor")
@page(opens_in=_AWAITING)
def show_factor(formdata: FormData | None = None) -> PageResponse:
    """Ask for the second factor: a code of an app, a passkey or a recovery code."""
    kept = login_redirect.kept_fields(formdata or NO_DATA)
    return login_redirect.factor_page(request.values.get("next", ""), kept, formdata)


@bp.post("/admin/login/factor")
@page(again=show_factor, opens_in=_AWAITING)
def give_factor() -> PageResponse:
    """Complete the sign-in and lead to `next`. A form that the sign-in interrupted is shown as it was filled."""
    kept = login_redirect.kept_fields(request.form)
    answer = factor_answers.given()
    try:
        started = second_step.give_factor(g.session, answer, device=session_cookie.device(), actor=g.actor)
    except WrongCode:
        raise factor_answers.wrong() from None
    session_cookie.start_session(started)
    if answer.kind is Kind.RECOVERY_CODE:
        flash(str(recovery_codes.count_left(started.user.id)), "recovery_codes_left")  # shown by the next page
    return login_redirect.resume(login_redirect.local_path(request.form.get("next", "")), kept)


@bp.post("/admin/logout")
@page(again=show_account, ended=login_redirect.signed_out, opens_in=guards.ANY_STAGE)
def sign_out() -> PageResponse:
    """End this session. If it has ended already, only its cookie is removed."""
    signin.sign_out(g.session.id, actor=g.actor)
    return login_redirect.signed_out()
