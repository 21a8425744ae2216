"""The page of the link with which a user chooses a password. Who opens it may never have heard of Enrol."""

import re
from datetime import timedelta

from flask import g, make_response, redirect, render_template, request, url_for

from users import settings
from users.blueprint import bp
from users.form_errors import PasswordLinkEnded
from users.http import session_cookie
from users.pages import forms, guards
from users.pages.forms import NO_DATA, FormData
from users.pages.guards import PageResponse, public
from users.rules import validation
from users.rules.validation import Rules
from users.services.links import password_links
from users.storage.models import User

_COOKIE_LIFETIME = timedelta(hours=1)  # the link itself opens the page again
_BROKEN = "broken"  # the cookie's value after a link of which a part is missing


@bp.get("/password")
@public()
def show_password(formdata: FormData | None = None) -> PageResponse:
    """Show the form for a password to a browser with an open link; to others, what they can do."""
    if "token" in request.args:  # out of the address bar, the history, every log and Referer at once
        return _redirect_with_cookie(_token_in(request.args["token"]))
    # The form carries its own token: this browser may have opened another link since.
    token = (formdata or NO_DATA).get("link") or request.cookies.get(_cookie(), "")
    try:
        user = password_links.find_user(token)
    except PasswordLinkEnded:
        return _show_end(was_opened=bool(token))
    form = forms.NewPasswordForm(formdata)
    return render_template("password/form.html", form=form, user=user, token=token, rules=_rules(user))


@bp.post("/password")
@public(again=show_password)
def set_linked_password() -> PageResponse:
    """Set the password and show that it is set. A link that has ended costs no hash."""
    token = request.form.get("link", "")
    rules = _rules(password_links.find_user(token))
    new = validation.new_password(forms.NewPasswordForm(request.form).password.data, rules)
    password_links.use(token, new, actor=g.actor)
    session_cookie.set_cookie(_cookie(), "", max_age=0)
    return redirect(url_for("users.show_password") + "?done", 303)


def _rules(user: User) -> Rules:
    return settings.current().rules_for_own_password(user.global_role_id)


def _token_in(text: str) -> str:
    """Return the token in a pasted link: without white space and punctuation, which mail and chat programs add."""
    return re.sub(r"[^A-Za-z0-9_.-]", "", text).rstrip(".")


def _redirect_with_cookie(token: str) -> PageResponse:
    value = token if password_links.is_token(token) else _BROKEN
    session_cookie.set_cookie(_cookie(), value, max_age=int(_COOKIE_LIFETIME.total_seconds()))
    g.referrer_policy = "no-referrer"  # the URL of this one request holds the token
    return redirect(url_for("users.show_password"), 303)


def _show_end(*, was_opened: bool) -> PageResponse:
    """Show that the password is set, or one page for all links that have ended, the same to the byte."""
    if "done" in request.args and not guards.is_unsafe():
        return render_template("password/done.html")
    g.problems = []
    return make_response(render_template(f"password/{'ended' if was_opened else 'no_link'}.html"), 410)


def _cookie() -> str:
    return session_cookie.cookie_name("password")
