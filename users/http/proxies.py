"""What the headers of requests reveal about the proxies in front. `flask doctor` tells it."""

from flask import Response, g, request

from users import settings
from users.rules import ip_addresses
from users.services import observations
from users.services.observations import Seen


def observe(response: Response) -> None:
    """Note where the proxies and the settings do not fit.

    Only after a request that looked for its caller in the database: a health probe must not wait for it.
    """
    if "actor" not in g or response.status_code >= 500:
        return
    given = settings.current()
    forwarded = request.headers.get("X-Forwarded-For")
    if not given.trusted_proxies and (forwarded is not None or "Forwarded" in request.headers):
        observations.note(Seen.PROXY, _private_address())
    if forwarded is not None and (passed := len(forwarded.split(","))) < given.trusted_proxies:
        observations.note(Seen.PROXIES, str(passed))
    if request.headers.get("X-Forwarded-Proto", "").lower() == "https":
        observations.note(Seen.SCHEME, "https")


def _private_address() -> str:
    """Return the private IP address that the request came from, or "": a public one may belong to a person."""
    try:
        ip = ip_addresses.parse(request.remote_addr or "")
    except ValueError:
        return ""
    return str(ip) if ip.is_private or ip.is_loopback else ""
