"""The page of the link with which a user chooses a password. Who opens it may never have heard of Enrol."""

from flask import g, make_response, redirect, render_template, request, url_for

from users import settings
from users.blueprint import bp
from users.form_errors import PasswordLinkEnded
from users.http import session_cookie
from users.pages import forms
from users.pages.forms import NO_DATA, FormData
from users.pages.guards import PageResponse, public
from users.rules import validation
from users.rules.field_checks import LINK_LIFETIMES
from users.services.links import password_links


@bp.get("/password")
@public()
def show_password(formdata: FormData | None = None) -> PageResponse:
    """Show the email and the form for a password, or that the link has ended, or that the password is set."""
    given = request.args.get("token", "")
    if password_links.is_token(given):  # out of the address bar, the history and every Referer at once
        return _redirect_with_cookie(given)
    if "done" in request.args and formdata is None:
        return render_template("password/done.html", done_url=settings.current().password_done_url)
    # The form carries its own token: this browser may have opened another link since.
    token = (formdata or NO_DATA).get("link") or given or request.cookies.get(_cookie(), "")
    try:
        user = password_links.find_user(token)
    except PasswordLinkEnded:
        return make_response(render_template("password/ended.html", ended=bool(token)), 410)
    form = forms.NewPasswordForm(formdata)
    return render_template(
        "password/form.html", form=form, email=user.email, token=token, rules=settings.current().rules
    )


@bp.post("/password")
@public(again=show_password)
def set_linked_password() -> PageResponse:
    """Set the password and show that it is set. A link that has ended costs no hash."""
    token = request.form.get("link", "")
    password_links.find_user(token)
    new = validation.new_password(forms.NewPasswordForm(request.form).password.data, settings.current().rules)
    password_links.use(token, new, actor=g.actor)
    session_cookie.set_cookie(_cookie(), "", max_age=0)
    return redirect(url_for("users.show_password", done=""), 303)


def _redirect_with_cookie(token: str) -> PageResponse:
    session_cookie.set_cookie(_cookie(), token, max_age=int(LINK_LIFETIMES[1].total_seconds()))
    g.referrer_policy = "no-referrer"  # the URL of this one request holds the token
    return redirect(url_for("users.show_password"), 303)


def _cookie() -> str:
    return session_cookie.cookie_name("password")
