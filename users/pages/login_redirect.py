"""The redirect to the sign-in page and back, to a path of this site. Typed fields are kept, secrets are not."""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import current_app, flash, g, make_response, redirect, render_template, request, session, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from users.auth.sessions import Stage
from users.blueprint import PUBLIC
from users.form_errors import ConfirmationNeeded
from users.http import session_cookie
from users.pages import forms
from users.pages.account import factor_answers
from users.pages.forms import FormData
from users.roles import Permission

CONFIRMED = "You have confirmed that it is you. Nothing was saved yet: check what you typed and send it again."
CONFIRMED_ALONE = "You have confirmed that it is you. Nothing was done yet, so do it again."
SIGNED_IN_AGAIN = "You are signed in again. Nothing was saved yet: check what you typed and send it again."

_KEPT = "kept-"
_STEPS = {
    Stage.FACTOR: "users.show_factor",
    Stage.NEW_PASSWORD: "users.show_choose_password",
    Stage.ENROLMENT: "users.show_factors",
}
_TARGET = "target"  # in Flask's session
_LONGEST_TARGET = 200  # characters of a cookie, which browsers drop beyond 4,096
MOST_KEPT = 100  # fields, many more than a form has: each becomes a hidden field of the page


def home() -> str:
    """Return the path where a sign-in leads by default: the overview, or the account of who may not see users."""
    may_see_users = "user" not in g or Permission.USERS_READ in g.actor.permissions
    return url_for("users.show_overview" if may_see_users else "users.show_account")


def sign_in_first(again: Any, values: Mapping[str, Any], notice: str) -> Response:
    """Show the sign-in page, which leads back here. It carries the fields that were typed, but no secrets.

    After a form, `notice` says there how the session ended.
    """
    if request.method in ("GET", "HEAD"):
        target = request.args.get("next", request.full_path.rstrip("?"))
        return redirect(url_for("users.show_login", next=None if target == home() else target), 303)
    target, kept = _interrupted(again, values)
    response = make_response(login_page(target, kept, notice=notice))
    response.status_code = 403
    return response


def login_page(target: str, kept: list[tuple[str, str]], formdata: FormData | None = None, *, notice: str = "") -> str:
    """Return the sign-in page, which leads to the path `target` and carries the fields `kept`."""
    form, carried = forms.LoginForm(formdata), carried_fields(kept)
    return render_template("account/login.html", form=form, next=target, kept=carried, notice=notice)


def confirm_first(again: Any, values: Mapping[str, Any]) -> Response:
    """Ask for the proof that it is the user. The page leads back here, and carries the typed fields but no secrets."""
    if request.method in ("GET", "HEAD"):
        return redirect(url_for("users.show_confirm", next=request.full_path.rstrip("?")), 303)
    g.problems = []
    response = make_response(confirm_page(*_interrupted(again, values), interrupted=True))
    response.status_code = 403
    return response


def confirm_page(
    target: str, kept: list[tuple[str, str]], formdata: FormData | None = None, *, interrupted: bool = False
) -> str:
    """Return the page "Confirm that it is you", which leads to the path `target` and carries the fields `kept`."""
    return render_template(
        "account/confirm.html",
        interrupted=interrupted or "interrupted" in request.form,
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


def _interrupted(again: Any, values: Mapping[str, Any]) -> tuple[str, list[tuple[str, str]]]:
    """Return the path of the form that was sent, and its fields that may go through a page between.

    Of a page between itself, which alone has a field `next`, they are those of the form before it.
    """
    if "next" in request.form:
        return local_path(request.form["next"]), kept_fields(request.form)
    path = url_for(f"users.{again.__name__}", **values) if again else home()
    return path, _without_secrets(request.form.items(multi=True))


def kept_fields(formdata: FormData) -> list[tuple[str, str]]:
    """Return the fields of the form that the sign-in interrupted."""
    fields = formdata.items(multi=True)
    return _without_secrets((name.removeprefix(_KEPT), value) for name, value in fields if name.startswith(_KEPT))


def _without_secrets(fields: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the fields that may go through a page between, at most MOST_KEPT."""
    return [(name, value) for name, value in fields if name not in forms.NOT_KEPT][:MOST_KEPT]


def to_next_step(path: str = "") -> Response:
    """Lead to what the sign-in still needs: the second factor, a new password or a new second factor. Else `home`.

    `take_target` returns `path` when that is done.
    """
    target = urlsplit(path).path  # not the query: this cookie can be read
    if target and path != home() and len(target) <= _LONGEST_TARGET:
        session[_TARGET] = target
    step = _STEPS.get(g.session.stage)
    return redirect(url_for(step) if step else home(), 303)


def take_target() -> str:
    """Return where the sign-in was to lead when it turned to its next step. A new id of the session forgets it."""
    return str(session.pop(_TARGET, ""))


def lead_on(path: str, message: str = "") -> Response:
    """Go to `path` after a sign-in, or to the next step of the sign-in. `message` is shown there.

    A user without a permission, whose account is the only page, is led there instead of to a page that refuses them.
    """
    view, _ = _view_at(path, "GET")
    if g.session.stage is not Stage.COMPLETE and not _opens(view):
        response = to_next_step(path)
    else:
        refuses = getattr(view, "guard", PUBLIC) not in (PUBLIC, ()) and not g.actor.permissions
        response = redirect(home() if refuses else path, 303)
    if message:
        flash(message, urlsplit(response.location or "").path)
    return response


def resume(path: str, kept: list[tuple[str, str]], notice: str = SIGNED_IN_AGAIN) -> Response | str:
    """Lead on to `path` after a sign-in; with `kept` fields, show the form there, filled with them, and `notice`."""
    view, values = _view_at(path, "POST") if kept else (None, {})
    form: Any = getattr(view, "again", None)  # None: unknown, of the API, or nothing to show again
    if not _opens(form):
        return lead_on(home() if kept and g.session.stage is Stage.COMPLETE else path)
    if form.guard and not g.actor.permissions:
        return redirect(home(), 303)
    g.actor.require(*form.guard)
    g.notice = notice
    # Past the guard, which would look for a CSRF token.
    try:
        shown: Response | str = form.__wrapped__(**values, formdata=MultiDict(kept))
    except ConfirmationNeeded:  # signed in long ago, in another tab
        return confirm_page(path, kept, interrupted=True)
    return shown


def _opens(view: Any) -> bool:
    """Tell whether this is a page for signed-in users that opens at this stage of the sign-in."""
    return getattr(view, "guard", PUBLIC) != PUBLIC and g.session.stage in getattr(view, "opens_in", ())


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
