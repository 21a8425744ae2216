"""The two checks against forms from other sites: the CSRF token, and the headers Origin and Sec-Fetch-Site."""

from urllib.parse import urlsplit

from flask import request, session
from flask_wtf.csrf import generate_csrf, validate_csrf
from wtforms import ValidationError

from users import settings
from users.form_errors import CrossSite

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
    """Raise CrossSite for a form sent from a page of another site or of a sibling host."""
    origin = request.headers.get("Origin")
    own = {_origin_of(url) for url in (request.host_url, settings.current().public_url) if url}
    foreign = origin is not None and origin not in own
    if foreign or request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        raise CrossSite


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()
