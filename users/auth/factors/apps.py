"""Codes of an authenticator app (TOTP, RFC 6238: SHA-1, 6 digits, 30 seconds)."""

import base64
import re
import secrets
from datetime import datetime

from users.auth.factors import sealing
from users.storage.models import SecondFactor

SECRET_BYTES = 20  # 160 bits, as RFC 4226, section 4, recommends
STEP_SECONDS = 30
_WINDOW = 1  # steps before and after now: clocks differ, and people type slowly
_CODE = re.compile(r"[0-9]{6}", re.ASCII)


def new_secret() -> bytes:
    """Return a new secret, sealed."""
    return sealing.seal(secrets.token_bytes(SECRET_BYTES))


def key_of(factor: SecondFactor) -> str:
    """Return the secret of the app in base 32, as people type it. Raises `sealing.Unreadable`."""
    return base64.b32encode(sealing.unseal(factor.secret)).decode("ascii")


def uri_of(factor: SecondFactor, email: str, issuer: str) -> str:
    """Return the address that the QR code holds, with which an app takes the secret over.

    Apps take the part before the first colon for the issuer, so that has none.
    """
    from pyotp import TOTP

    return TOTP(key_of(factor)).provisioning_uri(name=email, issuer_name=issuer.replace(":", ""))


def tidied(text: str) -> str:
    """Return a typed code without white space and hyphens."""
    return re.sub(r"[\s-]", "", text)


def is_code(text: str) -> bool:
    """Tell whether `text`, tidied, has the form of a code."""
    return bool(_CODE.fullmatch(text))


def take(factor: SecondFactor, code: str, now: datetime) -> bool:
    """Take the code if it is right, at most one step away, and of a later step than any code taken before.

    The row must be locked. A code that is taken also seals the secret anew if an older key sealed it. Raises
    `sealing.Unreadable`.
    """
    from pyotp import TOTP
    from pyotp.exceptions import OTPVerificationError

    if not is_code(code):  # pyotp also reads other digits of Unicode, such as full-width ones
        return False
    try:
        step = TOTP(key_of(factor)).verify_and_get_timecode(code, for_time=now.timestamp(), valid_window=_WINDOW)
    except OTPVerificationError:
        return False
    if step <= factor.counter:
        return False
    factor.counter = step
    factor.secret = sealing.seal_again(factor.secret)
    return True
