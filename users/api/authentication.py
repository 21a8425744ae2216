"""The caller of the API: a key becomes an Actor before any view runs, and each view names the permissions it needs."""

import functools
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NoReturn, ParamSpec, TypeVar

from flask import Flask, current_app, g, request
from sqlalchemy import or_, update

from users import clock, logs, rate_limits
from users.actors import Actor, ActorKind
from users.auth import authorization
from users.errors import AuthenticationRequired, Unavailable
from users.roles import Permission
from users.rules import ip_addresses, key_format
from users.services import first_steps
from users.storage import database
from users.storage.models import ApiKey

LAST_USED_EVERY = timedelta(minutes=1)

P = ParamSpec("P")
R = TypeVar("R")


def init_app(app: Flask) -> None:
    """Give `app` the rate limits of the API, which this process counts in memory."""
    rate = app.extensions["enrol.settings"].rate_limit
    app.extensions["enrol.key_buckets"] = rate_limits.Buckets(rate) if rate else None
    app.extensions["enrol.wrong_key_buckets"] = rate_limits.Buckets(rate_limits.WRONG_KEYS)


def requires(*permissions: Permission) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Guard a view of the API: a valid key, then `permissions` (none: any valid key), then the key's rate limit.

    The request counts as soon as the key is known: every response to a known key then has the rate limit headers.
    """

    def guard(view: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            g.actor = authenticate()
            _count_request()
            g.actor.require(*permissions)
            if "allowance" in g:
                g.allowance.require()
            answer = view(*args, **kwargs)
            first_steps.note_call()
            return answer

        guarded.guard = permissions  # type: ignore[attr-defined]  # a test walks the URL map and reads it
        return guarded

    return guard


def authenticate() -> Actor:
    """Return the holder of the request's API key.

    Raises AuthenticationRequired for a missing, unknown or malformed key, and RateLimitExceeded after too many wrong
    keys from one network; ApiKeyDeactivated and ApiKeyExpired only for a real key.
    """
    presented = _presented_key()
    key = _find(presented) if key_format.is_well_formed(presented) else None
    if key is None:
        _reject(presented)
    permissions = authorization.permissions_of_key(key)
    _record_use(key.id, key.last_used_at)
    return Actor(
        kind=ActorKind.KEY,
        permissions=permissions,
        user_id=key.owner_id,
        key_id=key.id,
        ip_address=request.remote_addr,
        request_id=g.request_id,
        client_request_id=g.client_request_id,
    )


def _find(key: str) -> Any:
    """Return the row of the key with its owner's state, or None if there is no such key."""
    return database.find(authorization.KEY_BY_HASH, key_hash=key_format.digest(key))


def _reject(presented: str) -> NoReturn:
    """Count a wrong key and raise. Only wrong keys count: a good key from the same network is never limited by them."""
    if presented:
        buckets: rate_limits.Buckets = current_app.extensions["enrol.wrong_key_buckets"]
        buckets.take(ip_addresses.network_of(request.remote_addr)).require()
    raise AuthenticationRequired


def _count_request() -> None:
    """Count this request against the key's rate limit in this process, and keep what is left for the headers."""
    buckets: rate_limits.Buckets | None = current_app.extensions["enrol.key_buckets"]
    if buckets is not None:
        g.allowance = buckets.take(g.actor.key_id)


def count_as(requests: int) -> None:
    """Count this request as so many, or as the whole limit if that is less. Raises RateLimitExceeded."""
    buckets: rate_limits.Buckets | None = current_app.extensions["enrol.key_buckets"]
    if buckets is not None and requests > 1:
        g.allowance = buckets.take(g.actor.key_id, requests, taken=1)
        g.allowance.require()


def _presented_key() -> str:
    """Return the value of X-API-Key or, if that header is absent, the Bearer token (RFC 6750, section 2.1).

    A header sent twice arrives as one value with a comma, which is no key.
    """
    header = request.headers.get("X-API-Key")
    if header is not None:
        return header.strip()
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _record_use(key_id: str, last_used_at: datetime | None) -> None:
    """Write `last_used_at`, at most once a minute for each key. If the database cannot write, the request goes on."""
    now = clock.now()
    stale = now - LAST_USED_EVERY
    if last_used_at and last_used_at > stale:
        return
    unused = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at <= stale)
    try:
        with database.transaction(wait=False) as session:
            session.execute(update(ApiKey).where(ApiKey.id == key_id, unused).values(last_used_at=now))
    except Unavailable:
        logs.event("last_used_skipped", key_id=key_id)
