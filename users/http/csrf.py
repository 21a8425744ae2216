"""Forms are believed that came from a page of ours: the CSRF token, and the headers in which browsers say it too."""

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
    """Give this browser session a token made of `digest`, which the sign-in's session alone has."""
    if session.get(FIELD) != digest:
        session[FIELD] = digest


def refuse_cross_site() -> None:
    """Refuse a form sent from a page of another site or of a sibling host; browsers say so in two headers."""
    origin = request.headers.get("Origin")
    own = {_origin_of(url) for url in (request.host_url, settings.current().public_url) if url}
    foreign = origin is not None and origin not in own
    if foreign or request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        raise CrossSite


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()
