"""Base64 without padding, as hashes hold it. The spare bits of the last character are ignored, as the libraries do."""

import base64
import re
import secrets

_TEXT = re.compile(r"[A-Za-z0-9+/]*")


def decode(text: str) -> bytes | None:
    """Return the bytes of `text`, None if it is no base64 or one character is missing or left over."""
    if len(text) % 4 == 1 or not _TEXT.fullmatch(text):
        return None
    return base64.b64decode(text + "=" * (-len(text) % 4))


def encode(raw: bytes) -> str:
    """Return `raw` without padding."""
    return base64.b64encode(raw).decode("ascii").rstrip("=")


def random(size: int) -> str:
    """Return `size` random bytes."""
    return encode(secrets.token_bytes(size))
