"""Secrets that the database keeps sealed: Fernet (AES-128-CBC and HMAC-SHA-256) under keys derived from SECRET_KEY."""

import base64
import hmac
from typing import TYPE_CHECKING

from users import settings

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

_PURPOSE = b"seal of second factors"


class Unreadable(Exception):
    """No secret key of this process opens the seal: SECRET_KEY was changed, and the old one is no fallback."""


def seal(secret: bytes) -> bytes:
    """Return `secret` sealed under today's secret key."""
    return _fernets()[0].encrypt(secret)


def unseal(sealed: bytes) -> bytes:
    """Return the secret. Raises Unreadable."""
    from cryptography.fernet import InvalidToken, MultiFernet

    try:
        return MultiFernet(_fernets()).decrypt(sealed)
    except InvalidToken:
        raise Unreadable from None


def seal_again(sealed: bytes) -> bytes:
    """Return the same secret sealed under today's secret key: the same bytes if it is already."""
    return sealed if is_newest(sealed) else seal(unseal(sealed))


def is_newest(sealed: bytes) -> bool:
    """Tell whether today's secret key opens the seal."""
    from cryptography.fernet import InvalidToken

    try:
        _fernets()[0].decrypt(sealed)
    except InvalidToken:
        return False
    return True


def is_readable(sealed: bytes) -> bool:
    """Tell whether today's secret key or an older one that is still known opens the seal."""
    try:
        unseal(sealed)
    except Unreadable:
        return False
    return True


def _fernets() -> "list[Fernet]":
    from cryptography.fernet import Fernet

    keys = (hmac.digest(key.encode(), _PURPOSE, "sha256") for key in settings.current().secret_keys)
    return [Fernet(base64.urlsafe_b64encode(key)) for key in keys]
