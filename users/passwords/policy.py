"""The password policy: the length, the characters, the lists of refused passwords, and the generator."""

import secrets
import string
import unicodedata

from users.field_errors import FieldCode, FieldRefused
from users.passwords.password_lists import DigestList, common_passwords

MIN_LENGTH = 8  # code points, before and after NFKC; ENROL_PASSWORD_MIN_LENGTH can raise it
ONLY_FACTOR_MIN_LENGTH = 15  # NIST SP 800-63B-4, section 3.1.1.2: of a password that is the only factor
MAX_BYTES = 1024  # of UTF-8, before and after NFKC, which can make a text eleven times as long

GENERATED_LENGTH = 16
LOOK_ALIKES = "0Oo1Il"
GENERATED_ALPHABET = "".join(c for c in string.ascii_letters + string.digits if c not in LOOK_ALIKES)


def check_new_password(
    password: str, *, min_length: int = MIN_LENGTH, blocklist: bool = False, own_list: DigestList | None = None
) -> str:
    """Return `password` unchanged, never trimmed or cut. Raises FieldRefused.

    The NFKC form, which is what gets hashed, must pass too. `blocklist` refuses common passwords, and `own_list` what
    the operator lists.
    """
    # By bytes first: NFKC is then only computed on a short text.
    if size(password) > MAX_BYTES or size(normalise(password)) > MAX_BYTES:
        raise FieldRefused(FieldCode.PASSWORD_TOO_LONG, f"Password must be {MAX_BYTES:,} bytes or fewer")
    if has_control_characters(password):  # it could not be typed, and nothing shows it
        message = "Password must not contain line breaks or control characters"
        raise FieldRefused(FieldCode.INVALID_CHARACTERS, message)
    if min(len(password), len(normalise(password))) < min_length:
        raise FieldRefused(FieldCode.PASSWORD_TOO_SHORT, f"Password must be at least {min_length} characters")
    if blocklist and password in common_passwords():
        message = "This password is on a list of common passwords. Choose a different one"
        raise FieldRefused(FieldCode.PASSWORD_TOO_COMMON, message)
    if own_list is not None and password in own_list:
        message = "This password is on a list of passwords that are refused here. Choose a different one"
        raise FieldRefused(FieldCode.PASSWORD_TOO_COMMON, message)
    return password


def has_control_characters(text: str) -> bool:
    """Tell whether `text` holds a control character, a line or paragraph separator, or a lone surrogate."""
    if text.isprintable():  # a short cut for nearly all: such a text has none of these categories
        return False
    return any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text)


def size(password: str) -> int:
    """Return the number of UTF-8 bytes of `password`, which may hold lone surrogates."""
    return len(password.encode("utf-8", "surrogatepass"))


def normalise(password: str) -> str:
    """Return `password` in NFKC, since keyboards and systems encode the same text differently.

    RFC 8265, section 4.2, asks for NFC for the same reason; NFKC also makes full-width letters plain.
    """
    return unicodedata.normalize("NFKC", password)


def generate(min_length: int = MIN_LENGTH) -> str:
    """Return a new password: 16 random characters (more where `min_length` asks) without look-alikes, 92 bits."""
    return "".join(secrets.choice(GENERATED_ALPHABET) for _ in range(max(GENERATED_LENGTH, min_length)))
