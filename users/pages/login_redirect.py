"""The redirect to the sign-in page and back, to a path of this site. Typed fields are kept, secrets are not."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import current_app, flash, g, make_response, redirect, render_template, request, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from users.http import session_cookie
from users.pages import forms
from users.pages.forms import FormData
from users.roles import Permission

SIGNED_IN_AGAIN = "You are signed in again. Nothing was saved yet: check what you typed and send it again."

_KEPT = "kept-"
MOST_KEPT = 100  # fields, many more than a form has: each becomes a hidden field of the page


def home() -> str:
    """Return the path where a sign-in leads by default: the list of users, or the account of who may not see it."""
    may_see_users = "user" not in g or Permission.USERS_READ in g.actor.permissions
    return url_for("users.show_users" if may_see_users else "users.show_account")


def sign_in_first(again: Any, values: Mapping[str, Any]) -> Response:
    """Show the sign-in page, which leads back here. It carries the fields that were typed, but no secrets."""
    if request.method in ("GET", "HEAD"):
        target = request.full_path.rstrip("?")
        return redirect(url_for("users.show_login", next=None if target == home() else target), 303)
    target = url_for(f"users.{again.__name__}", **values) if again else home()
    fields = [(name, value) for name, value in request.form.items(multi=True) if name not in forms.NOT_KEPT]
    response = make_response(login_page(target, fields[:MOST_KEPT], ended=True))
    response.status_code = 403
    return response


def login_page(
    target: str, kept: list[tuple[str, str]], formdata: FormData | None = None, *, ended: bool = False
) -> str:
    """Return the sign-in page, which leads to the path `target` and carries the fields `kept`."""
    carried = [(_KEPT + name, value) for name, value in kept]
    return render_template("account/login.html", form=forms.LoginForm(formdata), next=target, kept=carried, ended=ended)


def kept_fields(formdata: FormData) -> list[tuple[str, str]]:
    """Return the fields of the form that the sign-in interrupted."""
    fields = formdata.items(multi=True)
    return [(name.removeprefix(_KEPT), value) for name, value in fields if name.startswith(_KEPT)][:MOST_KEPT]


def choose_password_first() -> Response:
    """Lead to the form for a new password, which the signed-in user must choose before anything else."""
    return redirect(url_for("users.show_choose_password"), 303)


def resume(path: str, kept: list[tuple[str, str]]) -> Response | str:
    """Go to `path` after a sign-in; with `kept` fields, show the form there, filled with them.

    A user without a permission, whose account is the only page, is led there instead of to a page that refuses them.
    """
    if g.user.password_change_required:
        return choose_password_first()
    view, values = _view_at(path, "POST" if kept else "GET")
    guard = getattr(view, "guard", None)
    if isinstance(guard, tuple) and guard and not g.actor.permissions:
        return redirect(home(), 303)
    if not kept:
        return redirect(path, 303)
    if not isinstance(guard, tuple) or not getattr(view, "again", None):  # unknown, public, or of the API
        return redirect(home(), 303)
    g.actor.require(*guard)
    g.notice = SIGNED_IN_AGAIN
    # Past the guard, which would look for a CSRF token.
    shown: Response | str = view.again.__wrapped__(**values, formdata=MultiDict(kept))
    return shown


def _view_at(path: str, method: str) -> tuple[Any, Mapping[str, Any]]:
    """Return the view that answers this path, and the values in the path; None if there is none."""
    adapter = current_app.create_url_adapter(request)
    try:
        endpoint, values = adapter.match(urlsplit(path).path, method=method)  # type: ignore[union-attr]  # a request has one
    except HTTPException:
        return None, {}
    return current_app.view_functions[endpoint], values


def signed_out() -> Response:
    """Remove the session from the browser and lead to the sign-in page, which says so."""
    session_cookie.end_session()
    flash("You are signed out", "signed_out")
    return redirect(url_for("users.show_login"), 303)


def local_path(text: str) -> str:
    """Return `text` if it is a path of this site, else `home`.

    `//evil.example` and `/\\evil.example` are addresses of other sites to a browser, which also drops tabs and line
    breaks (WHATWG URL, 4.4).
    """
    plain = text.isascii() and text.isprintable() and "\\" not in text
    return text if plain and text.startswith("/") and not text.startswith("//") else home()
