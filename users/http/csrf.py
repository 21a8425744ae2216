"""The two checks against forms from other sites: the CSRF token, and the headers Origin and Sec-Fetch-Site."""

from urllib.parse import urlsplit

from flask import request, session
from flask_wtf.csrf import generate_csrf, validate_csrf
from wtforms import ValidationError

from users import settings
from users.form_errors import CrossSite, Outdated, WrongOrigin
from users.http import urls
from users.rules import hosts
from users.services import observations
from users.services.observations import Seen

FIELD = "csrf_token"


def token() -> str:
    """Return the CSRF token of this browser session, for a form to carry."""
    made: str = generate_csrf()
    return made


def token_is_valid() -> bool:
    """Tell whether the form sent with this request carries the token of this browser session."""
    try:
        validate_csrf(request.form.get(FIELD))
    except ValidationError:
        return False
    return True


def bind(digest: str) -> None:
    """Make `digest`, which depends on the sign-in's session, the secret of this browser's CSRF tokens.

    A new sign-in empties Flask's session first.
    """
    if session.get(FIELD) != digest:
        session.clear()  # the messages that `flash` keeps here are for the user who was signed in before
        session[FIELD] = digest


def refuse_cross_site() -> None:
    """Raise CrossSite for a form sent from a page of another site or of a sibling host.

    Where the browser sends Sec-Fetch-Site, that decides: no page can forge it, and no proxy has a reason to. Behind a
    proxy the Origin may be one that Enrol does not know as its own, or `null` (`Referrer-Policy: no-referrer`).
    """
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    if site not in (None, "same-origin", "none"):
        raise CrossSite
    if origin is None:
        return
    own, given = hosts.origin_of(urls.requested_url()) or "", settings.current()
    fits = origin != "" and origin in {own, hosts.origin_of(given.public_url or "")}
    advice = observations.origin_advice(origin, own, given) if _is_well_formed(origin) else None
    # Without a proxy, at loopback, people look after the service itself.
    if advice and not (fits and urls.is_loopback(urlsplit(own).hostname or "")):
        observations.note(Seen.ORIGIN, f"{origin} {own}")
    if not fits and site is None:
        raise WrongOrigin(advice) if advice else CrossSite


def _is_well_formed(origin: str) -> bool:
    return origin == "null" or hosts.origin_of(origin) == origin


def stale_form_message() -> str:
    """Return why the CSRF token is not valid, for the page that shows the form again.

    A browser keeps no `Secure` cookie from a page that it opened over http.
    """
    public_url = settings.current().public_url or ""
    over_http = request.headers.get("Origin", "").startswith("http:")
    if public_url.startswith("https:") and over_http and FIELD not in session:
        return (
            f"Your browser opened this page over http, so it kept no cookie and nothing was saved. Open {public_url}."
        )
    return Outdated.message
