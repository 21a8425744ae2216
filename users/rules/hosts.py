"""The hosts that a service answers to: what ENROL_TRUSTED_HOSTS takes, and whether a Host header is among them."""

import re
from collections.abc import Collection
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from users.rules import ip_addresses

_NAME = re.compile(r"\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")

_ORIGIN = re.compile(r"(https?)://([a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::([0-9]{1,5}))?/?")


def origin_of(url: str) -> str | None:
    """Return the scheme, host and port of an http or https URL without a path, as browsers write an Origin, or None.

    The port is left out where it is the scheme's own (RFC 6454, section 6.2).
    """
    match = _ORIGIN.fullmatch(url[:300].lower())
    if not match:
        return None
    scheme, host, port = match.groups()
    return f"{scheme}://{host}" if port in (None, "80" if scheme == "http" else "443") else f"{scheme}://{host}:{port}"


def is_host(text: str) -> bool:
    """Tell whether `text` is a host name, one with a leading dot, or an IP address, in brackets or not. No port."""
    return bool(_NAME.fullmatch(text)) or _is_ipv6(re.sub(r"^\[(.*)\]$", r"\1", text))


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return "%" not in text  # a zone is never part of a Host header (RFC 6874, section 3)


def is_ip_address(host: str) -> bool:
    """Tell whether the host of a URL, which stands there without brackets, is an IP address."""
    try:
        return bool(ip_address(host))
    except ValueError:
        return False


def is_readable(host: str) -> bool:
    """Tell whether brackets in a Host header hold an IPv6 address: Werkzeug takes `[:::]` and fails on it later."""
    brackets = re.fullmatch(r"\[(.*)\](:.*)?", host)
    return not host.startswith("[") or bool(brackets and _is_ipv6(brackets[1]))


def is_trusted(host: str, trusted: Collection[str]) -> bool:
    """Tell whether `host`, with or without a port, is among `trusted`. A leading dot there takes in the names below."""
    name = _without_port(host)
    wanted = {_without_port(one) for one in trusted}
    return name in wanted or any(one.startswith(".") and f".{name}".endswith(one) for one in wanted)


@lru_cache(maxsize=256)  # each request asks for all trusted hosts; clients choose the others
def _without_port(host: str) -> str:
    """Return the one spelling of a host: an IP address has several, and a name may end in a dot (RFC 1034, 3.1)."""
    try:
        return str(ip_addresses.parse(host))
    except ValueError:
        return host.partition(":")[0].lower().removesuffix(".")
