"""The service's own base URL, and what is made from it: absolute URLs and calls of the API to paste."""

from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from flask import current_app, request

from users import clock, settings
from users.auth.factors.passkeys import Site
from users.openapi import code_samples
from users.request_errors import BaseUrlUnknown
from users.rules import hosts
from users.services.links.password_links import PasswordLink

PLACEHOLDER_URL = "https://your-enrol"  # shown in examples while the base URL is not known


def base_url() -> str | None:
    """Return the URL at which people reach the service, without a slash at the end, or None if it is not known.

    That is ENROL_PUBLIC_URL, else the request's host if it is trusted or loopback: a client can send any Host header.
    """
    current, own = settings.current(), requested_url()
    if current.public_url or not (current.trusted_hosts or is_loopback(urlsplit(own).hostname or "")):
        return current.public_url
    return own


def requested_url() -> str:
    """Return the scheme and host of this request as a URL, without a slash at the end.

    Werkzeug's `host_url` decodes a host in Punycode: it fails where that is malformed (`xn--`), and what it decodes
    may have no place in a header.
    """
    return f"{request.scheme}://{request.host}"


def absolute_url(path: str) -> str:
    """Return `path` as an absolute URL for people to open. Raises BaseUrlUnknown if the base URL is not known."""
    base = base_url()
    if base is None:
        raise BaseUrlUnknown
    return base + path


def passkey_site() -> Site | None:
    """Return where passkeys are made for, or None if this address can have none.

    The host is that of ENROL_PUBLIC_URL, else `localhost` where people use that. Browsers have no passkeys for an IP
    address, and over http for `localhost` alone.
    """
    public_url = settings.current().public_url
    origin = hosts.origin_of(public_url or requested_url()) or ""
    host = urlsplit(origin).hostname or ""
    is_named = bool(public_url) and origin.startswith("https:") and not hosts.is_ip_address(host)
    return Site(host, origin) if host == "localhost" or is_named else None


def link(base: str, endpoint: str, token: str) -> str:
    """Return the URL of the page `endpoint` with a token, below the base URL `base`. It needs no request."""
    return base + current_app.url_map.bind("").build(endpoint, {"token": token})


def password_link(base: str, made: PasswordLink) -> dict[str, str]:
    """Return the URL of a password link and its end, as the API and the command line answer them."""
    return {
        "password_url": link(base, "users.show_password", made.token),
        "expires_at": clock.rfc3339(made.ends_at),
    }


def curl(path: str, body: Mapping[str, str] | None = None, *, key: str = "$API_KEY") -> str:
    """Return a call of the API as a shell command: a POST of `body`, or a GET without one."""
    url = f"{base_url() or PLACEHOLDER_URL}{path}"
    return code_samples.curl("GET" if body is None else "POST", url, body, key=key)


def is_loopback(host: str) -> bool:
    """Tell whether a URL with this host stays on the machine that asks."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
