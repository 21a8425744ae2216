"""The redirect to the sign-in page and back, to a path of this site. Typed fields are kept, secrets are not."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import current_app, flash, g, make_response, redirect, render_template, request, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from users.auth.sessions import Stage
from users.blueprint import PUBLIC
from users.http import session_cookie
from users.pages import forms
from users.pages.account import factor_answers
from users.pages.forms import FormData
from users.roles import Permission

CONFIRMED = "You have confirmed that it is you. Nothing was saved yet: check what you typed and send it again."
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
    response = make_response(login_page(target, _typed_fields(), ended=True))
    response.status_code = 403
    return response


def login_page(
    target: str, kept: list[tuple[str, str]], formdata: FormData | None = None, *, ended: bool = False
) -> str:
    """Return the sign-in page, which leads to the path `target` and carries the fields `kept`."""
    form, carried = forms.LoginForm(formdata), carried_fields(kept)
    return render_template("account/login.html", form=form, next=target, kept=carried, ended=ended)


def confirm_first(again: Any, values: Mapping[str, Any]) -> Response:
    """Ask for the proof that it is the user. The page leads back here, and carries the typed fields but no secrets."""
    if request.method in ("GET", "HEAD"):
        return redirect(url_for("users.show_confirm", next=request.full_path.rstrip("?")), 303)
    target = url_for(f"users.{again.__name__}", **values)
    g.problems = []
    response = make_response(confirm_page(target, _typed_fields()))
    response.status_code = 403
    return response


def confirm_page(target: str, kept: list[tuple[str, str]], formdata: FormData | None = None) -> str:
    """Return the page "Confirm that it is you", which leads to the path `target` and carries the fields `kept`."""
    return render_template(
        "account/confirm.html",
        form=forms.ConfirmForm(formdata),
        next=target,
        kept=carried_fields(kept),
        **factor_answers.choices(g.session),
    )


def factor_page(target: str, kept: list[tuple[str, str]], formdata: FormData | None = None) -> str:
    """Return the page for the second factor, which leads to the path `target` and carries the fields `kept`."""
    return render_template(
        "account/factor.html",
        form=forms.FactorForm(formdata),
        next=target,
        kept=carried_fields(kept),
        **factor_answers.choices(g.session),
    )


def carried_fields(kept: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return `kept` with the names that the fields have on a page between."""
    return [(_KEPT + name, value) for name, value in kept]


def _typed_fields() -> list[tuple[str, str]]:
    """Return the fields of this request's form that may go through a page between."""
    return [(name, value) for name, value in request.form.items(multi=True) if name not in forms.NOT_KEPT][:MOST_KEPT]


def kept_fields(formdata: FormData) -> list[tuple[str, str]]:
    """Return the fields of the form that the sign-in interrupted."""
    fields = formdata.items(multi=True)
    return [(name.removeprefix(_KEPT), value) for name, value in fields if name.startswith(_KEPT)][:MOST_KEPT]


_STEPS = {
    Stage.FACTOR: "users.show_factor",
    Stage.NEW_PASSWORD: "users.show_choose_password",
    Stage.ENROLMENT: "users.show_factors",
}


def to_next_step() -> Response:
    """Lead to what the sign-in still needs: the second factor, a new password or a new second factor. Else `home`."""
    step = _STEPS.get(g.session.stage)
    return redirect(url_for(step) if step else home(), 303)


def resume(path: str, kept: list[tuple[str, str]], notice: str = SIGNED_IN_AGAIN) -> Response | str:
    """Go to `path` after a sign-in; with `kept` fields, show the form there, filled with them, and `notice`.

    A user without a permission, whose account is the only page, is led there instead of to a page that refuses them.
    """
    view, values = _view_at(path, "POST" if kept else "GET")
    guard = getattr(view, "guard", None)
    opens = g.session.stage in getattr(view, "opens_in", ()) and guard != PUBLIC
    if not opens and g.session.stage is not Stage.COMPLETE:
        return to_next_step()
    if isinstance(guard, tuple) and guard and not g.actor.permissions:
        return redirect(home(), 303)
    if not kept:
        return redirect(path, 303)
    if not isinstance(guard, tuple) or not getattr(view, "again", None):  # unknown, public, or of the API
        return redirect(home(), 303)
    g.actor.require(*guard)
    g.notice = notice
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
