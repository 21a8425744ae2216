"""The page "Confirm that it is you", before an act that asks for a proof of the last ten minutes."""

from flask import g, request

from users.auth import second_step
from users.auth.factors.held import WrongCode
from users.auth.sessions import Stage
from users.blueprint import bp
from users.form_errors import FormRefused
from users.http import session_cookie
from users.pages import forms, login_redirect
from users.pages.account import factor_answers
from users.pages.forms import NO_DATA, FormData
from users.pages.guards import PageResponse, page
from users.passwords.hashing import WrongPassword

_OPENS_IN = frozenset({Stage.NEW_PASSWORD, Stage.ENROLMENT, Stage.COMPLETE})


@bp.get("/account/confirm")
@page(opens_in=_OPENS_IN)
def show_confirm(formdata: FormData | None = None) -> PageResponse:
    """Ask for the second factor, or for the password if the user has none."""
    kept = login_redirect.kept_fields(formdata or NO_DATA)
    return login_redirect.confirm_page(request.values.get("next", ""), kept, formdata)


@bp.post("/account/confirm")
@page(again=show_confirm, opens_in=_OPENS_IN)
def confirm() -> PageResponse:
    """Note the proof, and lead back to the page that asked for it, with the form as it was filled."""
    password, device = forms.ConfirmForm(request.form).password.data or "", session_cookie.device()
    try:
        if g.session.has_factor:
            renewed = second_step.give_factor(g.session, factor_answers.given(), device=device, actor=g.actor)
        else:
            renewed = second_step.confirm_password(g.session, password, device=device, actor=g.actor)
    except WrongCode:
        raise factor_answers.wrong() from None
    except WrongPassword:
        raise FormRefused({"password": "The password is wrong"}) from None
    session_cookie.start_session(renewed)
    path, kept = login_redirect.local_path(request.form.get("next", "")), login_redirect.kept_fields(request.form)
    if "interrupted" in request.form and not kept:  # a button, or passwords alone
        return login_redirect.lead_on(path, login_redirect.CONFIRMED_ALONE)
    return login_redirect.resume(path, kept, login_redirect.CONFIRMED)
