"""The page of the link that verifies an email. It asks for a click, because mail scanners open every link."""

from flask import g, make_response, redirect, render_template, request, url_for

from users.blueprint import bp
from users.form_errors import VerificationLinkEnded
from users.http import session_cookie
from users.pages.forms import NO_DATA, FormData
from users.pages.guards import PageResponse, public
from users.services.links import email_verification


@bp.get("/verify")
@public()
def show_verify(formdata: FormData | None = None) -> PageResponse:
    """Show the email and the button that verifies it, or what to do about a link that has ended."""
    given = request.args.get("token", "")
    if email_verification.is_token(given):  # out of the address bar, the history and every Referer at once
        return _redirect_with_cookie(given)
    # The form carries its own token: this browser may have opened another link since.
    token = (formdata or NO_DATA).get("link") or given or request.cookies.get(_cookie(), "")
    try:
        user = email_verification.find_user(token)
    except VerificationLinkEnded:
        return make_response(render_template("verify/ended.html", ended=bool(token)), 410)
    return render_template(
        "verify/form.html", email=user.email, token=token, used=email_verification.is_used(token, user)
    )


@bp.post("/verify")
@public(again=show_verify)
def verify() -> PageResponse:
    """Verify the email and show the result; a second click changes nothing."""
    token = request.form.get("link", "")
    email_verification.use(token, actor=g.actor)
    return _redirect_with_cookie(token)


def _redirect_with_cookie(token: str) -> PageResponse:
    session_cookie.set_cookie(_cookie(), token, max_age=int(email_verification.LIFETIME.total_seconds()))
    return redirect(url_for("users.show_verify"), 303)


def _cookie() -> str:
    return session_cookie.cookie_name("verify")
