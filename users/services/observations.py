"""What requests reveal about the set-up: the newest of each kind is kept, for the log and for `flask doctor`."""

import logging
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

from flask import current_app
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from users import clock, logs, settings
from users.errors import Unavailable
from users.rules import hosts
from users.settings import Settings
from users.storage import database
from users.storage.models import Observation

EVERY_SECONDS = 60  # at most so often does one process write what it saw of one kind
AGAIN_SECONDS = 3600  # what has not changed
KEPT = timedelta(days=7)  # a proxy may have been mended since


class Seen(StrEnum):
    """The kinds, with what their details are."""

    ORIGIN = "origin"  # where a form came from, and what the service took as its own address
    PROXY = "proxy"  # the private IP address of a proxy that is not trusted, or ""
    PROXIES = "proxies"  # how many proxies a request had passed
    SCHEME = "scheme"  # "https", as a proxy would say it


class _Noted(NamedTuple):
    """What this process has noted last of one kind, and when."""

    detail: str
    at: float
    is_kept: bool

    def due_at(self, detail: str) -> float:
        """Return when to note `detail`."""
        return self.at + (AGAIN_SECONDS if self.is_kept and detail == self.detail else EVERY_SECONDS)


def note(name: Seen, detail: str) -> None:
    """Keep and log what a request revealed, if it is worth advice. It waits for no other writer and raises nothing."""
    advice = _advice(name, detail, settings.current())
    noted: dict[Seen, _Noted] = current_app.extensions.setdefault("enrol.observations", {})
    last = noted.get(name)
    if advice is None or (last and clock.monotonic() < last.due_at(detail)):
        return
    if last is None or last.detail != detail:
        logs.event("set_up_advice", level=logging.WARNING, message=advice)
    noted[name] = _Noted(detail, clock.monotonic(), is_kept=False)  # before the write: other threads must not repeat it
    noted[name] = noted[name]._replace(is_kept=_keep(name, detail))


def _keep(name: Seen, detail: str) -> bool:
    """Write it, and tell whether that worked."""
    values = {"detail": detail, "seen_at": clock.now()}
    try:
        with database.writing(wait=False) as connection:
            if not connection.execute(update(Observation).where(Observation.name == name).values(values)).rowcount:
                connection.execute(insert(Observation).values(name=name, **values))
    except (IntegrityError, Unavailable):  # another process was faster, or the database cannot write now
        return False
    return True


def current_advice(given: Settings) -> list[str]:
    """Return what to change, a sentence or two each, as far as the present settings do not fit what was seen.

    Raises Unavailable when the database cannot be read.
    """
    recent = select(Observation).where(Observation.seen_at > clock.now() - KEPT).order_by(Observation.name)
    with database.reading() as session:
        seen = [(one.name, one.detail, one.seen_at) for one in session.scalars(recent)]
    found = [(_advice(Seen(name), detail, given), at) for name, detail, at in seen if name in set(Seen)]
    return [f"{advice} (Seen last on {clock.date_and_time(at)}.)" for advice, at in found if advice]


def origin_advice(origin: str, own: str, given: Settings) -> str | None:
    """Return what to change where a form came from `origin` to a service that takes itself for `own`, if anything."""
    own = hosts.origin_of(given.public_url or "") or own
    if not own or origin == own:
        return None
    if origin == "null":
        return (
            "A browser did not say from which page it sent a form (Origin: null). If a proxy adds Referrer-Policy: "
            "no-referrer, take that out: without it, browsers that send no Sec-Fetch-Site can send forms too."
        )
    if given.public_url and own == origin.replace("http:", "https:", 1):
        return (
            f"A browser sent a form from {origin}, but ENROL_PUBLIC_URL is {own}, and over http the browser keeps no "
            f"cookie. Open {own}, and let the proxy redirect http there."
        )
    known = f"ENROL_PUBLIC_URL is {own}" if given.public_url else f"Enrol takes {own} for its own address"
    return (
        f"A browser sent a form from {origin}, but {known}. If people open {origin}, set ENROL_PUBLIC_URL to {origin}."
    )


def _origin(detail: str, given: Settings) -> str | None:
    origin, _, own = detail.partition(" ")
    return origin_advice(origin, own, given)


def _proxy(detail: str, given: Settings) -> str | None:
    if given.trusted_proxies:
        return None
    sender = f"a proxy at {detail}" if detail else "a proxy"
    return (  # not more surely: without a proxy, this setting would let each client choose its address
        f"A request came with X-Forwarded-For or Forwarded. If {sender} sent it, the proxy is not trusted: all clients "
        "count as one address. Set ENROL_TRUSTED_PROXIES to 1 then."
    )


def _proxies(detail: str, given: Settings) -> str | None:
    if int(detail) >= given.trusted_proxies:
        return None
    return (
        f"ENROL_TRUSTED_PROXIES is {given.trusted_proxies}, but a request had passed {detail}, so its client counts "
        f"under the address of a proxy. If all requests do, set ENROL_TRUSTED_PROXIES to {detail}."
    )


def _scheme(_detail: str, given: Settings) -> str | None:
    public_url = given.public_url or ""
    if not public_url.startswith("http:"):
        return None
    https = public_url.replace("http:", "https:", 1)
    return (  # any client can send the header, and over http the browser would then keep no cookie
        f"A request came with X-Forwarded-Proto: https, but ENROL_PUBLIC_URL is {public_url}. If a proxy sent it, "
        f"people come over https: set ENROL_PUBLIC_URL to {https} then."
    )


_ADVICE: dict[Seen, Callable[[str, Settings], str | None]] = {
    Seen.ORIGIN: _origin,
    Seen.PROXY: _proxy,
    Seen.PROXIES: _proxies,
    Seen.SCHEME: _scheme,
}


def _advice(name: Seen, detail: str, given: Settings) -> str | None:
    """Return what to change, or None if the present settings fit what was seen."""
    return _ADVICE[name](detail, given)
