"""What all pages share: who may open one, which forms are believed, and the way back to a form that was refused."""

import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from flask import (
    Flask,
    after_this_request,
    current_app,
    g,
    make_response,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask.sessions import SecureCookieSessionInterface
from werkzeug.datastructures import ImmutableMultiDict
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from users import access, audit, clock, directory, forms, headers, sessions, settings
from users.errors import Conflict, CrossSite, EnrolError, Invalid, LastAdministrator, Refused, SetupLinkEnded, SetupOver
from users.models import User
from users.roles import Permission

Answer = Response | str
View = Callable[..., Answer]

HOME = "/admin/users"
LOGIN = "/admin/login"
PUBLIC = "public"
STALE = "This page was open for too long, so nothing was saved. Check what you typed and send it again."
SIGNED_IN_AGAIN = "You are signed in again. Nothing was saved yet: check what you typed and send it again."
_COOKIE = "enrol"
_KEPT = "kept-"


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
        except Refused as error:
            self.problems.update(error.problems)

    def refuse(self) -> None:
        """Raise Refused if there is something to refuse."""
        if self.problems:
            raise Refused(self.problems)


class _Cookies(SecureCookieSessionInterface):
    """Flask's own signed session, which holds nothing but the CSRF token, with the name and flags of ours."""

    def get_cookie_name(self, app: Flask) -> str:
        """Return the name, bound to the host over https."""
        return _cookie_name("form")

    def get_cookie_secure(self, app: Flask) -> bool:
        """Tell whether the cookie is for https only."""
        return headers.is_https()


def init_app(app: Flask) -> None:
    """Give `app` what every page is rendered with."""
    app.config.update(
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_PATH="/",
        SESSION_COOKIE_SAMESITE="Lax",
        WTF_CSRF_TIME_LIMIT=None,  # the token ends with the session, not before
    )
    app.session_interface = _Cookies()
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(rfc3339=clock.rfc3339, moment=clock.words)
    app.jinja_env.globals.update(
        asset=headers.asset,
        csrf_token=forms.token,
        may=lambda permission: "actor" in g and Permission(permission) in g.actor.permissions,
        role_words={role.value: words[0] for role, words in forms.ROLE_WORDS.items()},
    )


def page(*permissions: Permission, again: View | None = None) -> Callable[[View], View]:
    """Guard a view of the pages: somebody signed in who holds `permissions`.

    A view that changes something names in `again` the view that shows its form. It is shown once more, filled as it
    was sent, when the form's token is stale, when the session ended, and when what was sent is refused.
    """

    def guard(view: View) -> View:
        @wraps(view)
        def guarded(**values: Any) -> Answer:
            _refuse_cross_site()
            if not _recognise():
                return _sign_in_first(again, values)
            g.actor.require(*permissions)
            return _answer(view, again, values)

        return _marked(guarded, permissions, again)

    return guard


def public(*, again: View | None = None) -> Callable[[View], View]:
    """Open a view of the pages to everybody. Its forms are checked as those of `page` are."""

    def guard(view: View) -> View:
        @wraps(view)
        def guarded(**values: Any) -> Answer:
            _refuse_cross_site()
            _recognise()
            return _answer(view, again, values)

        return _marked(guarded, PUBLIC, again)

    return guard


def _marked(guarded: View, guard: object, again: View | None) -> View:
    guarded.guard = guard  # type: ignore[attr-defined]  # a test walks the URL map and reads it
    guarded.again = again  # type: ignore[attr-defined]
    return guarded


def changes() -> bool:
    """Tell whether this request may change something (RFC 9110, 9.2.1)."""
    return request.method not in ("GET", "HEAD")


def _refuse_cross_site() -> None:
    """Refuse a form sent from a page of another site or of a sibling host; browsers say so in two headers."""
    if not changes():
        return
    origin = request.headers.get("Origin")
    own = {request.host, urlsplit(settings.current().public_url or "").netloc}
    foreign = origin is not None and (urlsplit(origin).netloc or "null") not in own
    if foreign or request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        raise CrossSite


def _recognise() -> bool:
    """Note who is signed in, if somebody is."""
    session_id = request.cookies.get(_cookie_name())
    user = sessions.find(session_id) if session_id else None
    if user is None or session_id is None:
        g.actor = access.visitor()
        return False
    _be(user, session_id)
    return True


def _be(user: User, session_id: str) -> None:
    g.user, g.session_id, g.actor = user, session_id, access.visitor().become(user)
    # The token is made of the session's id: one from before the sign-in, or of another session, is none.
    key = current_app.config["SECRET_KEY"].encode()
    bound = hmac.new(key, b"csrf of " + session_id.encode(), hashlib.sha256).hexdigest()
    if session.get(forms.CSRF_FIELD) != bound:
        session[forms.CSRF_FIELD] = bound


def enter(user: User, session_id: str) -> None:
    """Let the browser that sent this request go on as `user`, with the session just started."""
    session.clear()
    g.pop(forms.CSRF_FIELD, None)
    _be(user, session_id)
    set_cookie(_cookie_name(), session_id)


def leave() -> None:
    """Take from the browser what it held of the session."""
    session.clear()
    set_cookie(_cookie_name(), "", max_age=0)


def set_cookie(name: str, value: str, *, max_age: int | None = None) -> None:
    """Set a cookie of ours on the answer to this request: for this host only, out of reach of scripts."""

    @after_this_request
    def add(response: Response) -> Response:
        response.set_cookie(
            name, value, max_age=max_age, path="/", secure=headers.is_https(), httponly=True, samesite="Lax"
        )
        return response


def _cookie_name(suffix: str = "") -> str:
    name = f"{_COOKIE}-{suffix}" if suffix else _COOKIE
    return f"__Host-{name}" if headers.is_https() else name


def setup_cookie() -> str:
    """Return the name of the cookie that keeps a set-up link's token for half an hour."""
    return _cookie_name("setup")


def _answer(view: View, again: View | None, values: Mapping[str, Any]) -> Answer:
    if not changes():
        return view(**values)
    if again is None:
        raise TypeError(f"{view.__name__} changes something and names no page to show again")
    if not forms.token_is_valid():
        return _show_again(again, values, [Problem(STALE)], 400)
    try:
        return view(**values)
    except (Conflict, Invalid, LastAdministrator, Refused, SetupLinkEnded, SetupOver) as error:
        return _show_again(again, values, _problems(error), 422 if isinstance(error, Conflict) else error.status)


def _show_again(again: View, values: Mapping[str, Any], problems: list[Problem], status: int) -> Response:
    g.problems = problems
    response = make_response(again.__wrapped__(**values))  # type: ignore[attr-defined]  # the guard is passed
    response.status_code = status
    return response


def _problems(error: EnrolError) -> list[Problem]:
    if isinstance(error, Invalid):
        return [Problem(one.message, one.field) for one in error.errors]
    if isinstance(error, Conflict):
        return [_taken(error)]
    if isinstance(error, Refused):
        return [Problem(words, name) for name, words in error.problems.items()]
    return [Problem(error.message)]


def _taken(error: Conflict) -> Problem:
    """Say who has the address and, to whoever sent the form twice, that they have just made that user themselves."""
    user_id = error.details.get("user_id")
    address = directory.emails_of([user_id]).get(user_id) if user_id and "user" in g else None
    if user_id is None or address is None:
        return Problem(error.message, "email")
    return Problem(error.message, "email", (f"{HOME}/{user_id}", f"View {address}"), _made_a_moment_ago(user_id))


def _made_a_moment_ago(user_id: str) -> str:
    for event in audit.recent(user_id):
        if event.action == audit.Action.USER_CREATE and clock.now() - event.at < clock.A_MOMENT:
            maker = directory.emails_of([event.actor_user_id]).get(event.actor_user_id or "", "somebody else")
            return f"created by {'you' if event.actor_user_id == g.actor.user_id else maker} a moment ago"
    return ""


def _sign_in_first(again: View | None, values: Mapping[str, Any]) -> Answer:
    """Ask for a sign-in that leads back here. What was typed goes along in the page, but for secrets."""
    if not changes():
        there = request.full_path.rstrip("?")
        return redirect(url_for("users.show_login", next=None if there == HOME else there), 303)
    there = url_for(f"users.{again.__name__}", **values) if again else HOME
    kept = [(name, value) for name, value in request.form.items(multi=True) if name not in forms.SECRET_FIELDS]
    request.form = ImmutableMultiDict()  # its "email" is not that of who signs in
    response = make_response(login_page(there, kept))
    response.status_code = 403
    return response


def login_page(there: str, kept: list[tuple[str, str]]) -> str:
    """Return the sign-in page, which leads to the path `there` and carries the fields `kept`."""
    carried = [(_KEPT + name, value) for name, value in kept]
    return render_template("login.html", form=forms.LoginForm(), next=there, kept=carried)


def kept_fields() -> list[tuple[str, str]]:
    """Return the fields of the form that a sign-in interrupted."""
    fields = request.form.items(multi=True)
    return [(name.removeprefix(_KEPT), value) for name, value in fields if name.startswith(_KEPT)]


def resume(path: str, kept: list[tuple[str, str]]) -> Answer:
    """Go to `path` after a sign-in; with `kept` fields, show the form there filled with them once more."""
    if not kept:
        return redirect(path, 303)
    adapter = current_app.create_url_adapter(request)
    try:
        endpoint, values = adapter.match(path, method="POST")  # type: ignore[union-attr]  # within a request there is one
    except HTTPException:
        return redirect(HOME, 303)
    view: Any = current_app.view_functions[endpoint]
    if getattr(view, "guard", PUBLIC) == PUBLIC or not path.startswith("/admin/"):
        return redirect(HOME, 303)
    g.actor.require(*view.guard)
    g.notice = SIGNED_IN_AGAIN
    request.form = ImmutableMultiDict(kept)
    shown: Answer = view.again.__wrapped__(**values)  # past the guard, which would look for a token in `kept`
    return shown


def local_path(text: str) -> str:
    """Return `text` if it is a path of this site, else the path of the users.

    `//evil.example` and `/\\evil.example` are addresses of other sites to a browser, which also drops tabs and line
    breaks (WHATWG URL, 4.4).
    """
    plain = text.isascii() and text.isprintable() and "\\" not in text
    return text if plain and text.startswith("/") and not text.startswith("//") else HOME


def address() -> str | None:
    """Return the address that people use, without a slash at the end, or None: a stranger's Host is not believed."""
    given = settings.current()
    if given.public_url or not (given.trusted_hosts or _is_loopback(urlsplit(request.host_url).hostname or "")):
        return given.public_url
    return request.host_url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
