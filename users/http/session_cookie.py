"""Who is at this browser: the cookie that holds a session's id, and the CSRF token that is bound to it."""

import hashlib
import hmac

from flask import Flask, Request, after_this_request, current_app, g, request, session
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from werkzeug.wrappers import Response

from users.actors import Actor
from users.auth import known_devices, sessions
from users.auth.known_devices import Device
from users.http import csrf, headers
from users.storage.models import User

_COOKIE = "enrol"


class Cookies(SecureCookieSessionInterface):
    """Flask's own signed session, which holds nothing but the CSRF token, with the name and flags of ours."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Open the session of a page. The API has none, and need not read a cookie for it."""
        return None if request.path.startswith("/v1/") else super().open_session(app, request)

    def get_cookie_name(self, app: Flask) -> str:
        """Return the name, bound to the host over https."""
        return cookie_name("form")

    def get_cookie_secure(self, app: Flask) -> bool:
        """Tell whether the cookie is for https only."""
        return headers.is_https()


def visitor() -> Actor:
    """Return whoever sent this request to a page, before it is known who that is."""
    return Actor(
        kind="visitor",
        permissions=frozenset(),
        ip_address=request.remote_addr,
        request_id=g.request_id,
        client_request_id=g.client_request_id,
    )


def recognise() -> bool:
    """Note who is signed in, if somebody is; whoever cannot be looked up is a visitor."""
    g.actor = visitor()
    session_id = request.cookies.get(cookie_name())
    user = sessions.find(session_id) if session_id else None
    if user is None or session_id is None:
        return False
    _be(user, session_id)
    return True


def forget() -> None:
    """Take this request for one of a visitor from now on."""
    g.pop("user", None)
    g.pop("session_id", None)
    g.actor = visitor()


def _be(user: User, session_id: str) -> None:
    g.user, g.session_id = user, session_id
    g.actor = visitor().signed_in_as(user.id, user.global_role_id, sessions.digest(session_id))
    # The token is made of the session's id: one from before the sign-in, or of another session, is none.
    csrf.bind(_bound("csrf", session_id))


def _bound(what: str, session_id: str) -> str:
    key = current_app.config["SECRET_KEY"].encode()
    return hmac.new(key, f"{what} of {session_id}".encode(), hashlib.sha256).hexdigest()


def sealed(text: str) -> str:
    """Return `text` for a form to carry, so that only `unsealed`, in the same session, takes it back."""
    return f"{text}.{_bound(f'mark {text}', g.session_id)}"


def unsealed(seal: str) -> str | None:
    """Return the text that this session has sealed, or None if it has not."""
    text = seal.partition(".")[0]
    return text if hmac.compare_digest(sealed(text).encode(), seal.encode("utf-8", "replace")) else None


def device() -> Device:
    """Return the browser that sent this request, as far as it is known from an earlier sign-in."""
    return known_devices.read(request.cookies.get(cookie_name("device"), ""))


def enter(user: User, session_id: str) -> None:
    """Let the browser that sent this request go on as `user`, with the session just started, and know it again."""
    _be(user, session_id)
    set_cookie(cookie_name(), session_id)
    remembered = device().remembering(user).as_cookie()
    set_cookie(cookie_name("device"), remembered, max_age=int(known_devices.LIFETIME.total_seconds()))


def leave() -> None:
    """Take from the browser what it held of the session."""
    session.clear()
    set_cookie(cookie_name(), "", max_age=0)


def set_cookie(name: str, value: str, *, max_age: int | None = None) -> None:
    """Set a cookie of ours on the answer to this request: for this host only, out of reach of scripts."""

    @after_this_request
    def add(response: Response) -> Response:
        response.set_cookie(
            name, value, max_age=max_age, path="/", secure=headers.is_https(), httponly=True, samesite="Lax"
        )
        return response


def cookie_name(suffix: str = "") -> str:
    """Return the name of the session's cookie, or of the one for `suffix`; over https it is bound to the host."""
    name = f"{_COOKIE}-{suffix}" if suffix else _COOKIE
    return f"__Host-{name}" if headers.is_https() else name
