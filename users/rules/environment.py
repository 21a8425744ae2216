"""The `ENROL_` variables that are not settings: misspelt ones, those that Kubernetes and Docker set, and all others."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from ipaddress import ip_address

PREFIX = "ENROL_"
_MISSPELT = 2  # edit distance: a letter changed, added or left out is 1, two letters exchanged are 2
_SIMILAR = 4  # ENROL_TRUSTED_PROXY has distance 3 from ENROL_TRUSTED_PROXIES


def misspelt(values: Mapping[str, str], settings: Collection[str]) -> str | None:
    """Return a sentence about a variable in `values` that is nearly the name of one of `settings`, or None."""
    for name, nearest, distance in _unknown(values, settings):
        if distance <= _MISSPELT:
            return f"{_shown(name)} is not a setting. Did you mean {nearest}?"
    return None


def ignored(values: Mapping[str, str], settings: Collection[str]) -> tuple[str, ...]:
    """Return a sentence about each variable in `values` that begins with ENROL_ and is not one of `settings`."""
    return tuple(
        f"{_shown(name)} is not a setting, so Enrol ignores it."
        + (f" Did you mean {nearest}?" if distance <= _SIMILAR else "")
        for name, nearest, distance in _unknown(values, settings)
    )


def _unknown(values: Mapping[str, str], settings: Collection[str]) -> Iterator[tuple[str, str, int]]:
    """Yield the name of each unknown variable, the nearest of `settings` and the edit distance between them."""
    for name in values:
        if name.startswith(PREFIX) and name not in settings and not _is_injected(name, values):
            distance, nearest = min((_distance(name, setting), setting) for setting in settings)
            yield name, nearest, distance


def _distance(name: str, setting: str) -> int:
    """Return the edit distance in upper case. ENROL_DATABASE_URL has none from DATABASE_URL."""
    upper = name[:100].upper()
    return _edit_distance(upper if setting.startswith(PREFIX) else upper.removeprefix(PREFIX), setting)


def _edit_distance(one: str, other: str) -> int:
    """Return how many letters must be changed, added or left out to make one of the other (Levenshtein)."""
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        above, row = row, [i]
        for j, wanted in enumerate(other, start=1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (letter != wanted)))
    return row[-1]


def _is_ip_address(value: str) -> bool:
    try:
        return bool(ip_address(value))
    except ValueError:
        return False


def _like(pattern: str) -> Callable[[str], bool]:
    return lambda value: bool(re.fullmatch(pattern, value))


_ENDPOINT = _like(r"(tcp|udp|sctp)://\S+:[0-9]+")
_NUMBER = _like(r"[0-9]+")
# What stands beside a service or container that is called `enrol`, or `enrol-` and more. Docker alone sets _NAME,
# _ENV_, _START and _END.
# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
# https://docs.docker.com/engine/network/links/#environment-variables
_INJECTED = (
    (r"SERVICE_HOST", _is_ip_address),
    (r"SERVICE_PORT(_[A-Z0-9_]+)?", _NUMBER),
    (r"PORT(_[0-9]+_(TCP|UDP|SCTP)(_START|_END)?)?", _ENDPOINT),
    (r"PORT_[0-9]+_(TCP|UDP|SCTP)_ADDR", _is_ip_address),
    (r"PORT_[0-9]+_(TCP|UDP|SCTP)_PORT(_START|_END)?", _NUMBER),
    (r"PORT_[0-9]+_(TCP|UDP|SCTP)_PROTO", _like("tcp|udp|sctp")),
    (r"NAME", _like(r"/\S+")),
)


def _is_injected(name: str, values: Mapping[str, str]) -> bool:
    """Tell whether the variable has the name and a value that Kubernetes or Docker would set."""
    # A container's own variables have any value after _ENV_; the _NAME beside them shows where they come from.
    container = re.match(r"(ENROL_(?:[A-Z0-9_]+_)?)ENV_", name)
    if container and _is_injected(f"{container[1]}NAME", values):
        return True
    return any(
        re.fullmatch(rf"ENROL_([A-Z0-9_]+_)?{pattern}", name) and has_form(str(values.get(name, "")))
        for pattern, has_form in _INJECTED
    )


def _shown(name: str) -> str:
    return name.encode("ascii", "backslashreplace").decode()
