"""The address at which people reach the service, and what is made with it."""

from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from flask import request

from users import settings
from users.openapi import examples
from users.request_errors import BaseUrlUnknown

UNKNOWN = "https://your-enrol"  # stands for an address that is not known


def address() -> str | None:
    """Return the address that people use, without a slash at the end, or None: a stranger's Host is not believed."""
    given = settings.current()
    if given.public_url or not (given.trusted_hosts or _is_loopback(urlsplit(request.host_url).hostname or "")):
        return given.public_url
    return request.host_url.rstrip("/")


def link(path: str) -> str:
    """Return the whole address of `path`, for people to open, or raise BaseUrlUnknown."""
    found = address()
    if found is None:
        raise BaseUrlUnknown
    return found + path


def curl(path: str, body: Mapping[str, str] | None = None, *, key: str = "$API_KEY") -> str:
    """Return a call of the API as a command that can be pasted: a POST of `body`, or a GET without one."""
    return examples.curl("GET" if body is None else "POST", f"{address() or UNKNOWN}{path}", body, key=key)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
