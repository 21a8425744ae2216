"""What all pages share: who may open one, which forms are believed, and how a form that was refused comes back."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

from flask import Flask, g, make_response, redirect, request, url_for
from werkzeug.wrappers import Response

from users import clock
from users.audit import trail
from users.errors import Conflict, EnrolError, Invalid, LastAdministrator, Overloaded, RateLimitExceeded, Unavailable
from users.field_errors import FieldCode, FieldError
from users.form_errors import FormRefused, Outdated, SessionEnded, SetupLinkEnded, SetupOver
from users.http import csrf, headers, session_cookie, urls
from users.pages import forms, login_redirect
from users.request_errors import BaseUrlUnknown
from users.roles import PUBLIC, Permission
from users.services import user_search

Answer = Response | str
View = Callable[..., Answer]


@dataclass(frozen=True)
class Problem:
    """One thing wrong, for the summary and for beside its `field`; `link` is a path and its words."""

    message: str
    field: str | None = None
    link: tuple[str, str] | None = None
    note: str = ""


class Findings:
    """Collects what several judges refuse of one form, so that one answer tells it all."""

    def __init__(self) -> None:
        self.problems: dict[str, str] = {}

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note what is refused inside, and go on."""
        try:
            yield
        except Invalid as error:
            self.problems.update((one.field, one.message) for one in error.errors)
        except FormRefused as error:
            self.problems.update(error.problems)

    def refuse(self) -> None:
        """Raise FormRefused if there is something to refuse."""
        if self.problems:
            raise FormRefused(self.problems)


def init_app(app: Flask) -> None:
    """Give `app` what every page is rendered with."""
    app.config.update(
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_PATH="/",
        SESSION_COOKIE_SAMESITE="Lax",
        WTF_CSRF_TIME_LIMIT=None,  # the token ends with the session, not before
    )
    app.session_interface = session_cookie.Cookies()
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(rfc3339=clock.rfc3339, moment=clock.words)
    app.jinja_env.globals.update(
        asset=headers.asset,
        csrf_token=csrf.token,
        may=lambda permission: "actor" in g and Permission(permission) in g.actor.permissions,
        unknown_address=urls.PLACEHOLDER_URL,
        role_words={role.value: words[0] for role, words in forms.ROLE_WORDS.items()},
    )


def page(
    *permissions: Permission, again: View | None = None, ended: Callable[[], Answer] | None = None
) -> Callable[[View], View]:
    """Guard a view of the pages: somebody signed in who holds `permissions`.

    A view that changes something names in `again` the view that shows its form. It is shown once more, filled as it
    was sent, when the form's token is stale, when the session ended, and when what was sent is refused. `ended`
    answers in place of the sign-in page when the session ended.
    """

    def guard(view: View) -> View:
        @wraps(view)
        def guarded(**values: Any) -> Answer:
            _judge_form()
            try:
                if not session_cookie.recognise():
                    raise SessionEnded
                g.actor.require(*permissions)
                return _answer(view, again, values)
            except SessionEnded:  # before this request, or while it was on its way
                session_cookie.forget()
                return ended() if ended else login_redirect.sign_in_first(again, values)

        return _marked(guarded, permissions, again)

    return guard


def public(*, again: View | None = None) -> Callable[[View], View]:
    """Open a view of the pages to everybody. Its forms are checked as those of `page` are."""

    def guard(view: View) -> View:
        @wraps(view)
        def guarded(**values: Any) -> Answer:
            _judge_form()
            try:
                session_cookie.recognise()
            except Unavailable:  # what everybody may read needs nobody's session
                if changes():
                    raise
            return _answer(view, again, values)

        return _marked(guarded, PUBLIC, again)

    return guard


def _marked(guarded: View, guard: object, again: View | None) -> View:
    guarded.guard = guard  # type: ignore[attr-defined]  # a test walks the URL map and reads it
    guarded.again = again  # type: ignore[attr-defined]
    return guarded


def check_views(app: Flask) -> None:
    """Stop the start if a page changes something and names no page to show again."""
    for rule in app.url_map.iter_rules():
        view: Any = app.view_functions[rule.endpoint]
        if "POST" in (rule.methods or ()) and getattr(view, "again", view) is None:
            raise TypeError(f"{view.__name__} changes something and names no page to show again")


def changes() -> bool:
    """Tell whether this request may change something (RFC 9110, 9.2.1)."""
    return request.method not in ("GET", "HEAD")


def _judge_form() -> None:
    """Refuse a form that was sent from another site or is not UTF-8."""
    if changes():
        csrf.refuse_cross_site()
        forms.require_utf8()


def _answer(view: View, again: View | None, values: Mapping[str, Any]) -> Answer:
    if not changes():
        return view(**values)
    assert again  # noqa: S101  (`check_views` has seen to it)
    if not csrf.token_is_valid():
        return _show_again(again, values, [Problem(Outdated.message)], 400)
    try:
        return view(**values)
    except (BaseUrlUnknown, Conflict, Invalid, LastAdministrator, FormRefused, SetupLinkEnded, SetupOver) as error:
        g.error = error
        return _show_again(again, values, _problems(error), 422 if isinstance(error, Conflict) else error.status)
    except (Overloaded, RateLimitExceeded) as error:
        response = _show_again(again, values, _problems(error), error.status)
        response.headers.update(error.headers)  # Retry-After
        return response


def _show_again(again: View, values: Mapping[str, Any], problems: list[Problem], status: int) -> Response:
    g.problems = problems
    response = make_response(again.__wrapped__(**values))  # type: ignore[attr-defined]  # the guard is passed
    if response.status_code == 200 and g.problems:  # the page may know better, and lead elsewhere
        response.status_code = status
    return response


def signed_out() -> Response:
    """Take from the browser what it held of the session, and say so."""
    session_cookie.leave()
    return redirect(url_for("users.show_login", done="out"), 303)


def _problems(error: EnrolError) -> list[Problem]:
    if isinstance(error, Invalid):
        return [Problem(_words(one), one.field) for one in error.errors]
    if isinstance(error, Conflict):
        return [_taken(error)]
    if isinstance(error, FormRefused) and error.problems:
        return [Problem(words, name) for name, words in error.problems.items()]
    if isinstance(error, LastAdministrator) and "global_role_id" in request.form:
        return [Problem(error.message, "global_role_id")]
    return [Problem(error.message)]


def _words(error: FieldError) -> str:
    """Return the words of every door, with roles called as the page calls them."""
    if error.code != FieldCode.INVALID_ROLE:
        return error.message
    return f"Choose one of the roles: {', '.join(name for name, _ in forms.ROLE_WORDS.values())}"


def _taken(error: Conflict) -> Problem:
    """Say who has the address and, to whoever sent the form twice, that they have just made that user themselves."""
    user_id = error.details.get("user_id")
    address = user_search.emails_of([user_id]).get(user_id) if user_id and "user" in g else None
    if user_id is None or address is None:
        return Problem(error.message, "email")
    generated = "generated" if request.form.get("choice") == forms.GENERATE else None
    link = (url_for("users.show_user", user_id=user_id, password=generated), f"View {address}")
    return Problem(error.message, "email", link, _made_a_moment_ago(user_id))


def _made_a_moment_ago(user_id: str) -> str:
    for event in trail.recent(user_id):
        if event.action == trail.Action.USER_CREATE and clock.now() - event.at < clock.RECENT:
            maker = user_search.emails_of([event.actor_user_id]).get(event.actor_user_id or "", "somebody else")
            return f"created by {'you' if event.actor_user_id == g.actor.user_id else maker} a moment ago"
    return ""
