"""The account page: your sessions, and the form for your own password; choose a new password if you must."""

from flask import flash, g, redirect, render_template, request, url_for

from users import settings
from users.auth import session_list, signin
from users.auth.factors import held, recovery_codes
from users.auth.sessions import Stage
from users.blueprint import bp
from users.form_errors import FormRefused
from users.http import session_cookie
from users.pages import forms, login_redirect
from users.pages.forms import FormData
from users.pages.guards import PageResponse, page
from users.pages.problems import Problems
from users.passwords.hashing import WrongPassword
from users.rules import validation
from users.rules.validation import Rules


@bp.get("/admin/account")
@page()
def show_old_account() -> PageResponse:
    """Lead to the account, which was here before users without a role had one."""
    return redirect(url_for("users.show_account"), 303)


@bp.get("/account")
@page()
def show_account(formdata: FormData | None = None) -> PageResponse:
    """Show who is signed in, the form for a new password, the user's second factors and sessions."""
    factors = held.of_user(g.user.id) if g.session.has_factor else []
    return render_template(
        "account/account.html",
        form=forms.OwnPasswordForm(formdata),
        sessions=session_list.of_user(g.user.id),
        name_of=session_list.name_of,
        factors=factors,
        codes_left=recovery_codes.count_left(g.user.id) if factors else 0,
        rules=_rules(),
    )


@bp.post("/account")
@page(again=show_account)
def change_own_password() -> PageResponse:
    """Change the password with the current one; the user's other sessions end."""
    given, problems = forms.OwnPasswordForm(request.form).data, Problems()
    if not given["current_password"]:
        problems.by_field["current_password"] = "Enter your current password"  # noqa: S105  (words, not a password)
    if g.session.has_factor:  # without one, the current password is the proof
        g.actor.require_confirmation()
    with problems.collect():
        new = validation.new_password(given["password"], _rules())
    problems.raise_if_any()
    try:
        started = signin.change_password(
            g.user,
            given["current_password"],
            new,
            device=session_cookie.device(),
            place=session_cookie.place(),
            actor=g.actor,
        )
    except WrongPassword:
        raise FormRefused({"current_password": "The current password is wrong"}) from None
    session_cookie.start_session(started)
    return lead_to_account("Password changed. Your other sessions have ended")


@bp.get("/account/password")
@page(opens_in=frozenset({Stage.NEW_PASSWORD}))
def show_choose_password(formdata: FormData | None = None) -> PageResponse:
    """Show the form for the new password that the user must choose."""
    g.actor.require_confirmation()
    form = forms.NewPasswordForm(formdata)
    return render_template("account/choose_password.html", form=form, rules=_rules())


@bp.post("/account/password")
@page(again=show_choose_password, opens_in=frozenset({Stage.NEW_PASSWORD}))
def choose_password() -> PageResponse:
    """Set the password that the user has chosen and lead on; their other sessions end."""
    new = validation.new_password(forms.NewPasswordForm(request.form).password.data, _rules())
    started = signin.choose_password(g.user, new, place=session_cookie.place(), actor=g.actor)
    target = login_redirect.take_target()
    session_cookie.start_session(started)
    return login_redirect.lead_on(login_redirect.local_path(target), "Password changed")


def _rules() -> Rules:
    return settings.current().rules_for_own_password(g.user.global_role_id)


def lead_to_account(message: str) -> PageResponse:
    """Lead to the account; `message` is shown there."""
    path = url_for("users.show_account")
    flash(message, path)
    return redirect(path, 303)
