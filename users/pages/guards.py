"""Who may open a page, which forms are accepted, and how a form that was refused is shown again."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from flask import Flask, g, make_response, request
from werkzeug.wrappers import Response

from users.auth.sessions import Stage
from users.blueprint import PUBLIC
from users.errors import (
    READ_ONLY,
    Conflict,
    EnrolError,
    Invalid,
    LastAdministrator,
    Overloaded,
    RateLimitExceeded,
    Unavailable,
    UserDeactivated,
)
from users.form_errors import ConfirmationNeeded, FormRefused, SessionEnded, SetupLinkEnded, SetupOver
from users.http import csrf, session_cookie, uploads
from users.pages import forms, login_redirect
from users.pages.problems import Problem, problems_of
from users.request_errors import BaseUrlUnknown
from users.roles import Permission

# The form is shown again with what these say.
_SHOWN_AGAIN = (
    BaseUrlUnknown,
    Conflict,
    FormRefused,
    Invalid,
    LastAdministrator,
    SetupLinkEnded,
    SetupOver,
    UserDeactivated,
)
_COMPLETE = frozenset({Stage.COMPLETE})
ANY_STAGE = frozenset(Stage)
PageResponse = Response | str
View = Callable[..., PageResponse]


def page(
    *permissions: Permission,
    again: View | None = None,
    ended: Callable[[], PageResponse] | None = None,
    opens_in: frozenset[Stage] = _COMPLETE,
    takes_file: bool = False,
) -> Callable[[View], View]:
    """Guard a view: its caller must be signed in and hold `permissions`.

    The view opens in the stages `opens_in` of a sign-in. In others the user is led to the next step, as they are to
    "Confirm that it is you" if the view raises ConfirmationNeeded.

    A view that changes something names in `again` the view that shows its form. That view is called again with what
    was sent as `formdata` when the form's token is stale, when the session ended, and when what was sent is refused.
    `ended` answers in place of the sign-in page when the session ended. A view that `takes_file` finds the form in
    `g.upload`, read up to its file; None if the form was sent without a file's encoding.
    """

    def guard(view: View) -> View:
        @wraps(view)
        def guarded(**values: Any) -> PageResponse:
            _check_form(takes_file=takes_file)
            try:
                session_cookie.load_session()
                if "session" not in g:
                    raise SessionEnded
                if g.session.stage not in opens_in:
                    return login_redirect.to_next_step()
                g.actor.require(*permissions)
                return _respond(view, again, values)
            except SessionEnded as error:  # before this request or during it
                session_cookie.forget_session()
                return ended() if ended else login_redirect.sign_in_first(again, values, error.notice)
            except ConfirmationNeeded:
                return login_redirect.confirm_first(again, values)

        return _with_guard(guarded, permissions, again, opens_in)

    return guard


def public(*, again: View | None = None) -> Callable[[View], View]:
    """Open a view to everyone. Its forms are checked as those of `page` are."""

    def guard(view: View) -> View:
        @wraps(view)
        def guarded(**values: Any) -> PageResponse:
            _check_form()
            try:
                session_cookie.load_session()
            except Unavailable:  # a public page needs no session
                if is_unsafe():
                    raise
            return _respond(view, again, values)

        return _with_guard(guarded, PUBLIC, again, ANY_STAGE)

    return guard


def _with_guard(guarded: View, guard: object, again: View | None, opens_in: frozenset[Stage]) -> View:
    guarded.guard = guard  # type: ignore[attr-defined]  # a test walks the URL map and reads it
    guarded.again = again  # type: ignore[attr-defined]
    guarded.opens_in = opens_in  # type: ignore[attr-defined]
    return guarded


def check_views(app: Flask) -> None:
    """Stop the start if a page changes something and names no page to show again."""
    for rule in app.url_map.iter_rules():
        view: Any = app.view_functions[rule.endpoint]
        if "POST" in (rule.methods or ()) and getattr(view, "again", view) is None:
            raise TypeError(f"{view.__name__} changes something and names no page to show again")


def is_unsafe() -> bool:
    """Tell whether the method of this request is unsafe: it may change something (RFC 9110, 9.2.1)."""
    return request.method not in ("GET", "HEAD")


def _check_form(*, takes_file: bool = False) -> None:
    """Refuse a form that was sent from another site or is not UTF-8."""
    if is_unsafe():
        csrf.refuse_cross_site()
        g.upload = uploads.begin() if takes_file else None
        if not g.upload:
            forms.require_utf8()


def _respond(view: View, again: View | None, values: Mapping[str, Any]) -> PageResponse:
    if not is_unsafe():
        return view(**values)
    assert again  # noqa: S101  (`check_views` has seen to it)
    if not csrf.token_is_valid():
        return _show_again(again, values, [Problem(csrf.stale_form_message())], 400)
    try:
        return view(**values)
    except _SHOWN_AGAIN as error:
        g.error = error
        return _show_again(again, values, problems_of(error), 422 if isinstance(error, Conflict) else error.status)
    except (Overloaded, RateLimitExceeded) as error:
        return _show_again_later(again, values, error)
    except Unavailable as error:
        if error.reason != READ_ONLY:
            raise
        g.error_code = error.code
        return _show_again_later(again, values, error)


def _show_again_later(again: View, values: Mapping[str, Any], error: EnrolError) -> Response:
    response = _show_again(again, values, problems_of(error), error.status)
    response.headers.update(error.headers)  # Retry-After
    return response


def _show_again(again: Any, values: Mapping[str, Any], problems: list[Problem], status: int) -> Response:
    if "session" in g and g.session.stage not in again.opens_in:
        return login_redirect.to_next_step()
    g.problems = problems
    response = make_response(again.__wrapped__(**values, formdata=request.form))  # the guard is passed
    if response.status_code == 200 and g.problems:  # unless the view redirected or chose a status itself
        response.status_code = status
    return response
