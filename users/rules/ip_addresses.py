"""IP addresses: how they are read, and the network that counts as one caller."""

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_WITH_PORT = re.compile(r"([0-9.]+):[0-9]+|\[([^]]*)\](?::[0-9]+)?")  # as some proxies write X-Forwarded-For


def parse(text: str) -> IPv4Address | IPv6Address:
    """Return the IP address in `text`. A port is left out; an IPv4 address mapped into IPv6 becomes IPv4.

    Raises ValueError.
    """
    with_port = _WITH_PORT.fullmatch(text)
    ip = ip_address((with_port[1] or with_port[2]) if with_port else text)
    return getattr(ip, "ipv4_mapped", None) or ip


def network_of(text: str | None) -> str:
    """Return the network that counts as one caller: an IPv4 address, or the /64 of an IPv6 address.

    A /64 is the smallest network that a subscriber gets (RFC 6177, section 2). All texts that are no IP address count
    as one caller, "unknown".
    """
    return networks_of(text)[0]


def networks_of(text: str | None) -> list[str]:
    """Return `network_of` the IP address and, on IPv6, the /48 around it, which one site gets (RFC 6177)."""
    try:
        ip = parse(text or "")
    except ValueError:
        return ["unknown"]
    return [str(ip)] if isinstance(ip, IPv4Address) else [str(_subnet(ip, bits)) for bits in (64, 48)]


def _subnet(ip: IPv6Address, bits: int) -> IPv6Network:
    return IPv6Network((int(ip), bits), strict=False)
