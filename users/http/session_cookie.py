"""The cookies of the pages: the session of the signed-in user, Flask's signed session, and the known device."""

import hashlib
import hmac
from urllib.parse import urlsplit

from flask import Flask, Request, Response, after_this_request, current_app, g, request, session
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin

from users import settings
from users.actors import Actor, ActorKind
from users.auth import known_devices, sessions
from users.auth.known_devices import Device
from users.auth.sessions import CurrentSession, Place, Stage
from users.http import csrf, headers, urls
from users.rules import browsers

_COOKIE = "enrol"
_MESSAGES = "_flashes"  # Flask's name for the messages of `flash` in the session
MOST_MESSAGES = 5


class FormSessionInterface(SecureCookieSessionInterface):
    """Flask's signed session, which holds the CSRF token and the messages of `flash`, with our name and flags.

    Its cookie can be read, so no message holds a secret or a personal value.
    """

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Open the session of a page. The API has none, so no cookie is read for it."""
        return None if request.path.startswith("/v1/") else super().open_session(app, request)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Save the session with the newest MOST_MESSAGES, each once.

        A double click sends a form twice, and a script may send forms and never open a page.
        """
        if session.modified and _MESSAGES in session:
            newest = list(dict.fromkeys(reversed(session[_MESSAGES])))[:MOST_MESSAGES]
            session[_MESSAGES] = newest[::-1]
        super().save_session(app, session, response)

    def get_cookie_name(self, app: Flask) -> str:
        """Return the name, bound to the host over https."""
        return cookie_name("form")

    def get_cookie_secure(self, app: Flask) -> bool:
        """Tell whether the cookie is for https only."""
        return headers.is_https()


def visitor() -> Actor:
    """Return the actor of a page's request while no user is known."""
    return Actor(
        kind=ActorKind.VISITOR,
        permissions=frozenset(),
        ip_address=request.remote_addr,
        request_id=g.request_id,
        client_request_id=g.client_request_id,
    )


def load_session() -> None:
    """Set `g.session`, `g.user` and `g.actor` from the session's cookie, if the session lives.

    While the session awaits the second factor there is no `g.user`: the actor is a visitor.
    """
    forget_session()
    session_id = request.cookies.get(cookie_name())
    found = sessions.find(session_id) if session_id else None
    if found:
        _set_session(found)


def forget_session() -> None:
    """Treat this request as a visitor's from now on."""
    g.pop("user", None)
    g.pop("session", None)
    g.actor = visitor()


def _set_session(current: CurrentSession) -> None:
    forget_session()  # of the user who was signed in before, if another one signs in
    g.session = current
    if current.stage is not Stage.FACTOR:
        g.user = current.user
        g.actor = visitor().signed_in_as(
            current.user.id,
            current.permissions,
            current.id_hash,
            needs_confirmation=current.needs_confirmation,
        )
    # A CSRF token from before the sign-in or of another session is not valid in this one.
    csrf.bind(_digest("csrf", current.id))


def _digest(what: str, session_id: str) -> str:
    key = current_app.config["SECRET_KEY"].encode()
    return hmac.new(key, f"{what} of {session_id}".encode(), hashlib.sha256).hexdigest()


def sign(text: str) -> str:
    """Return `text` signed for a hidden field: `unsign` accepts it in the same session only."""
    return f"{text}.{_digest(f'mark {text}', g.session.id)}"


def unsign(signed: str) -> str | None:
    """Return the text that this session has signed, or None if it has not."""
    text = signed.partition(".")[0]
    return text if hmac.compare_digest(sign(text).encode(), signed.encode("utf-8", "replace")) else None


def device() -> Device:
    """Return what the browser's cookie says about earlier sign-ins."""
    return known_devices.read(request.cookies.get(cookie_name("device"), ""))


def place() -> Place:
    """Return where this request comes from, for the list of the user's sessions."""
    return Place(request.remote_addr, browsers.name_of(request.user_agent.string))


def start_session(current: CurrentSession) -> None:
    """Let the browser have the session, which was just made or renewed.

    Once the sign-in needs no factor any more, the browser is remembered as a known device.
    """
    _set_session(current)
    set_cookie(cookie_name(), current.id)
    if current.stage is Stage.FACTOR:
        return
    remembered = device().with_user(current.user).as_cookie()
    set_cookie(cookie_name("device"), remembered, max_age=int(known_devices.LIFETIME.total_seconds()))


def end_session() -> None:
    """Remove the session from the browser."""
    session.clear()
    set_cookie(cookie_name(), "", max_age=0)


def set_cookie(name: str, value: str, *, max_age: int | None = None) -> None:
    """Set a cookie on the answer to this request: for this host only, not readable by scripts."""

    @after_this_request
    def add(response: Response) -> Response:
        response.set_cookie(
            name, value, max_age=max_age, path="/", secure=headers.is_https(), httponly=True, samesite="Lax"
        )
        return response


def cookie_name(suffix: str = "") -> str:
    """Return the name of the session's cookie or of the cookie for `suffix`; over https it is bound to the host.

    The name ends in the port, if people see one: browsers send a cookie to all ports of its host (RFC 6265, 8.5), and
    two services on one machine would sign each other's users out. Over https only a loopback address has one.
    """
    seen = urlsplit(settings.current().public_url or urls.requested_url())
    has_port = seen.port and (not headers.is_https() or urls.is_loopback(seen.hostname or ""))
    name = "-".join(part for part in (_COOKIE, suffix, str(seen.port) if has_port else "") if part)
    return f"__Host-{name}" if headers.is_https() else name
