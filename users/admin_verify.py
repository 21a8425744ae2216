"""The page behind the link that verifies an address: it asks for a click, since mail scanners open every link."""

from flask import g, make_response, redirect, render_template, request

from users import verification, visits
from users.blueprint import bp
from users.pages import Answer, public
from users.refusals import VerificationLinkEnded


@bp.get("/verify")
@public()
def show_verify() -> Answer:
    """Show the address and the button that verifies it, or what to do about a link that has ended."""
    given = request.args.get("token", "")
    if verification.is_token(given):  # out of the address bar, the history and every Referer at once
        return _at_the_page(given)
    # The form carries its own token: another link may have been opened in this browser since.
    token = request.form.get("link") or given or request.cookies.get(_cookie(), "")
    try:
        user = verification.find_user(token)
    except VerificationLinkEnded:
        return make_response(render_template("verify_ended.html", ended=bool(token)), 410)
    return render_template("verify.html", email=user.email, token=token, used=verification.is_used(token, user))


@bp.post("/verify")
@public(again=show_verify)
def verify() -> Answer:
    """Verify the address and show that it is so; a second click changes nothing."""
    token = request.form.get("link", "")
    verification.use(token, actor=g.actor)
    return _at_the_page(token)


def _at_the_page(token: str) -> Answer:
    visits.set_cookie(_cookie(), token, max_age=int(verification.LIFETIME.total_seconds()))
    return redirect("/verify", 303)


def _cookie() -> str:
    return visits.cookie_name("verify")
