"""The text of an API key: how it is made, recognised without a look-up, and hashed for the table."""

import hashlib
import re
import secrets
import string
import zlib

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
PREFIX_LENGTH = 8
_FORM = re.compile(r"ak_[0-9A-Za-z]{40}", re.ASCII)


def _checksum(text: str) -> str:
    number = zlib.crc32(text.encode("ascii"))
    digits = ""
    for _ in range(6):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits


def new_key() -> str:
    """Return a new key: `ak_`, 34 random base-62 characters (202 bits), 6 of CRC-32 over the rest."""
    body = "ak_" + "".join(secrets.choice(ALPHABET) for _ in range(34))
    return body + _checksum(body)


def is_well_formed(text: str) -> bool:
    """Tell whether `text` has a key's form and checksum, so that a wrong text costs no look-up."""
    return bool(_FORM.fullmatch(text)) and _checksum(text[:-6]) == text[-6:]


def digest(key: str) -> bytes:
    """Return the SHA-256 of a well-formed `key`, 32 bytes: a secret of 202 random bits needs no slow hash."""
    return hashlib.sha256(key.encode("ascii")).digest()
