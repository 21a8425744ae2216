"""The checks of a single value, one function for each kind. Each returns the value to keep or raises FieldRefused.

`label` is the name of the field in messages.
"""

import difflib
from collections.abc import Collection, Mapping
from datetime import timedelta
from itertools import islice

from users.field_errors import FieldCode, FieldError, FieldRefused, RowCode
from users.passwords import policy
from users.passwords.password_lists import DigestList
from users.roles import Permission, Role
from users.rules import email_faults, invisible, ip_addresses
from users.rules.emails import MAX_BYTES as EMAIL_MAX_BYTES
from users.rules.emails import AskDns, BadEmail, Email, parse_email, tidied

NAME_MAX_LENGTH = 255  # code points
MAX_USER_IDS = 100  # in one batch
LINK_LIFETIMES = (timedelta(minutes=5), timedelta(days=30))  # the shortest and the longest of a password link
_EMAIL_MESSAGES = {
    FieldCode.EMAIL_TOO_LONG: f"Email address must be {EMAIL_MAX_BYTES} bytes or fewer",
    FieldCode.EMAIL_DOMAIN_RESERVED: '"{domain}" is reserved and cannot receive email. Use a real domain',
    FieldCode.EMAIL_DOMAIN_UNDELIVERABLE: '"{domain}" does not receive email. Check the spelling',
}
# Formatting characters that reorder the text around them: a name must not change how the page around it reads.
_BIDI_OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNKNOWN_SHOWN = 20  # a body of 64 KiB can hold thousands of unknown members
_UNKNOWN_NAME_SHOWN = 64  # characters of an unknown member's name


def text(label: str, value: object) -> str:
    """Return `value` if it is text, "" if it is absent."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise FieldRefused(FieldCode.INVALID_TYPE, f"{label} must be text (a JSON string)")
    return value


def required_text(label: str, value: object) -> str:
    """Return `value` if it is text and not empty."""
    return _required(label, text(label, value))


def email(
    value: object, *, allow_domains: Collection[str], check_deliverability: bool, ask: AskDns | None = None
) -> Email:
    """Return the email address in `value`."""
    given = text("Email address", value)
    _required("Email address", tidied(given))
    try:
        return parse_email(given, allow_domains=allow_domains, check_deliverability=check_deliverability, ask=ask)
    except BadEmail as bad:
        words = _EMAIL_MESSAGES.get(bad.code) or email_faults.describe(given)
        raise FieldRefused(bad.code, words.format(domain=bad.domain)) from None


def password(value: object, *, min_length: int, blocklist: bool, own_list: DigestList | None) -> str:
    """Return `value` unchanged if it may become a password."""
    given = required_text("Password", value)
    return policy.check_new_password(given, min_length=min_length, blocklist=blocklist, own_list=own_list)


def name(label: str, value: object) -> str | None:
    """Return `value` as sent, without white space around it; None if it shows nothing."""
    given = text(label, value).strip()
    if len(given) > NAME_MAX_LENGTH:
        raise FieldRefused(FieldCode.NAME_TOO_LONG, f"{label} must be {NAME_MAX_LENGTH} characters or fewer")
    if given.isascii() and given.isprintable():  # a short cut for most: each of its characters shows something
        return given or None
    if policy.has_control_characters(given) or not _BIDI_OVERRIDES.isdisjoint(given):
        message = f"{label} must not contain line breaks or control characters"
        raise FieldRefused(FieldCode.INVALID_CHARACTERS, message)
    return None if invisible.shows_nothing(given) else given


def required_name(value: object) -> str:
    """Return the name of an API key in `value`."""
    return _required("Name", name("Name", value) or "")


def ip_address(value: object) -> str | None:
    """Return the IP address in `value` in its normal form, None if it is absent."""
    given = text("IP address", value)
    try:
        return str(ip_addresses.parse(given)) if given else None
    except ValueError:
        message = "Enter an IP address, like 203.0.113.7 or 2001:db8::7"
        raise FieldRefused(FieldCode.INVALID_IP_ADDRESS, message) from None


def boolean(label: str, value: object) -> bool:
    """Return `value` if it is a boolean."""
    if not isinstance(value, bool):
        raise FieldRefused(FieldCode.INVALID_TYPE, f"{label} must be true or false (a JSON boolean)")
    return value


def link_lifetime(value: object) -> timedelta:
    """Return the seconds in `value` as how long a password link works, if they are a whole number in the bounds."""
    least, most = (int(bound.total_seconds()) for bound in LINK_LIFETIMES)
    words = f"expires_in must be a whole number of seconds from {least} to {most:,} (5 minutes to 30 days)"
    if not isinstance(value, int | float) or isinstance(value, bool) or value % 1:  # 300.0 is whole (RFC 8259, 6)
        raise FieldRefused(FieldCode.INVALID_TYPE, words)
    if not least <= value <= most:
        raise FieldRefused(FieldCode.OUT_OF_RANGE, words)
    return timedelta(seconds=value)


def user_ids(value: object) -> list[str]:
    """Return `value` if it is a list of 1 to 100 texts."""
    texts = [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
    if texts != value or not 1 <= len(texts) <= MAX_USER_IDS:
        code = FieldCode.REQUIRED_FIELD if value is None else FieldCode.INVALID_TYPE
        raise FieldRefused(code, f"User ids must be a list of 1 to {MAX_USER_IDS} ids (a JSON array of strings)")
    return texts


def role(value: object) -> Role | None:
    """Return the role that `value` names, None if it is absent or empty."""
    given = text("Role", value)
    if not given:
        return None
    if given not in set(Role):
        raise FieldRefused(FieldCode.INVALID_ROLE, f"Choose one of the roles: {', '.join(Role)}")
    return Role(given)


def require_grantable(role: Role, permissions: frozenset[Permission]) -> None:
    """Raise FieldRefused unless a holder of `permissions` may give this role, which is the rule of `user_creation`."""
    missing = {Permission.ROLES_ASSIGN, *role.permissions} - permissions
    if missing:
        needs = ", ".join(sorted(missing))
        raise FieldRefused(RowCode.ROLE_NOT_GRANTABLE, f"You cannot give {role}: that needs {needs}")


def unknown_fields(given: Mapping[str, object], fields: tuple[str, ...]) -> list[FieldError]:
    """Return an error for each member of `given` that is not among `fields`, for the first 20 at most."""
    unknown = (one for one in given if one not in fields)
    return [_unknown_field(one, fields) for one in islice(unknown, _UNKNOWN_SHOWN)]


def _unknown_field(field: str, fields: tuple[str, ...]) -> FieldError:
    shown = field if len(field) <= _UNKNOWN_NAME_SHOWN else field[:_UNKNOWN_NAME_SHOWN] + "…"
    near = difflib.get_close_matches(shown.lower(), fields, n=1)
    advice = f'Did you mean "{near[0]}"?' if near else f"The fields are: {', '.join(fields)}"
    return FieldError(shown, FieldCode.UNKNOWN_FIELD, f'Unknown field "{shown}". {advice}')


def _required(label: str, given: str) -> str:
    if not given:
        article = "an" if label[0] in "AEIOU" else "a"
        raise FieldRefused(FieldCode.REQUIRED_FIELD, f"Enter {article} {label.lower()}")
    return given
