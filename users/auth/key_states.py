"""The state of an API key, the same for authentication, the page of API keys and `flask keys list`."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, and_, or_

from users import clock
from users.storage.models import ApiKey


class KeyState(StrEnum):
    """The states of an API key. Only an active one works."""

    ACTIVE = "active"
    REVOKED = "revoked"
    STOPPED = "stopped"  # the owner is deactivated or deleted
    EXPIRED = "expired"


def state_of(key: Any, *, owner_is_active: bool) -> KeyState:
    """Return the state of `key` now: an ApiKey, or a row with its columns.

    `owner_is_active` does not matter for a service key, which has no owner.
    """
    if key.deactivated_at:
        return KeyState.REVOKED
    if key.owner_id and not owner_is_active:
        return KeyState.STOPPED
    if key.expires_at and key.expires_at <= clock.now():
        return KeyState.EXPIRED
    return KeyState.ACTIVE


def has_ended(at: datetime) -> ColumnElement[bool]:
    """Return the SQL condition of the keys that are revoked or expired at `at`: they never work again.

    A key that has expired is one of them also while its owner is not active, when `state_of` says STOPPED.
    """
    has_expired = and_(ApiKey.expires_at.is_not(None), ApiKey.expires_at <= at)  # never NULL, so it can be negated
    return or_(ApiKey.deactivated_at.is_not(None), has_expired)
