"""What may become a user: every door's input is judged here, once, in the same words. No Flask.

Each rule is a line of the contract (SPEC, Create). That an email is unique is the database's own rule, on
`users.email_key`, and is not looked at here.
"""

import difflib
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from users.errors import Invalid
from users.field_errors import FieldCode, FieldError, FieldErrors, FieldRefused
from users.passwords import hashing
from users.rate_limits import read_ip_address
from users.roles import Permission, Role
from users.rules.emails import MAX_BYTES as EMAIL_MAX_BYTES
from users.rules.emails import BadEmail, Email, parse_email, read_email

NAME_MAX_LENGTH = 255  # code points
PAGE_FIELDS = ("email", "first_name", "last_name", "password")  # what POST /v1/user/ takes, in the page's order
ADMIN_FIELDS = (*PAGE_FIELDS, "global_role_id")  # the form and the command line may also give a role
CHANGE_FIELDS = (*PAGE_FIELDS, "is_active", "global_role_id")  # what can be changed afterwards
MAX_USER_IDS = 100  # in one batch
LABELS = {
    "email": "Email address",
    "first_name": "First name",
    "last_name": "Last name",
    "name": "Name",
    "password": "Password",
    "is_active": "Active",
    "ip_address": "IP address",
    "global_role_id": "Role",
}

# Formatting characters that reorder the text around them: a name must not rewrite the page that shows it.
_BIDI_OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_CONTROL_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control, lone surrogate, line and paragraph separator
_UNKNOWN_SHOWN = 20  # a body of 64 KiB can hold thousands of unknown members
_UNKNOWN_NAME_SHOWN = 64  # characters of an unknown member's name


@dataclass(frozen=True)
class Rules:
    """What an installation can set; the defaults are those of the settings of the same names."""

    password_min_length: int = hashing.MIN_LENGTH
    password_blocklist: bool = False
    allow_domains: frozenset[str] = frozenset()
    check_deliverability: bool = False


@dataclass(frozen=True)
class NewUser:
    """A user that may be created: checked and normalised, the password not yet hashed."""

    email: Email
    password: str = field(repr=False)
    first_name: str | None = None
    last_name: str | None = None
    role: Role | None = None


@dataclass(frozen=True)
class UserChanges:
    """What is to become of a user: checked and normalised. Only what `given` names is meant, None there clears.

    The domain of an email may have been allowed once: `bad_domain` is the error to raise if the user's email differs.
    """

    given: frozenset[str]  # of CHANGE_FIELDS
    email: Email | None = None
    first_name: str | None = None
    last_name: str | None = None
    password: str | None = field(default=None, repr=False)
    is_active: bool | None = None
    global_role_id: Role | None = None
    bad_domain: Invalid | None = None


@dataclass(frozen=True)
class Credentials:
    """What a user typed to sign in at another application, and from where."""

    email: str
    password: str = field(repr=False)
    ip_address: str | None = None


@dataclass(frozen=True)
class NewKey:
    """An API key that may be made."""

    name: str
    scopes: frozenset[Permission]


def new_user(given: Mapping[str, object], rules: Rules, *, fields: tuple[str, ...] = PAGE_FIELDS) -> NewUser:
    """Return the user that `given` describes; its members may be those named in `field_errors`.

    Raises Invalid with every error of every field at once, in the order of `field_errors`, unknown members last.
    """
    found = FieldErrors()
    email = found.check("email", _email, given.get("email"), rules)
    first_name = found.check("first_name", _name, "first_name", given.get("first_name"))
    last_name = found.check("last_name", _name, "last_name", given.get("last_name"))
    password = found.check("password", _password, given.get("password"), rules)
    role = found.check("global_role_id", _role, given.get("global_role_id")) if "global_role_id" in fields else None
    found.errors += _unknown(given, fields)
    if email is None or password is None or found.errors:
        raise Invalid(found.errors)
    return NewUser(email, password, first_name, last_name, role)


def user_changes(given: Mapping[str, object], rules: Rules) -> UserChanges:
    """Return the changes that `given` describes, whose members may be those of CHANGE_FIELDS.

    Raises Invalid with every error of every field at once, in the order of CHANGE_FIELDS, unknown members last.
    """
    checks: dict[str, Callable[[object], object]] = {
        "email": lambda value: _email(value, rules),
        "first_name": lambda value: _name("first_name", value),
        "last_name": lambda value: _name("last_name", value),
        "password": lambda value: _password(value, rules),
        "is_active": lambda value: _boolean("is_active", value),
        "global_role_id": _role,
    }
    found = FieldErrors()
    values: dict[str, Any] = {name: found.check(name, checks[name], given[name]) for name in checks if name in given}
    found.errors += _unknown(given, CHANGE_FIELDS)
    if not found.errors:
        return UserChanges(frozenset(values), **values)
    refused = Invalid(found.errors)
    if [one.field for one in found.errors] != ["email"]:
        raise refused
    values["email"] = _whatever_domain(given["email"], refused)
    return UserChanges(frozenset(values), **values, bad_domain=refused)


def credentials(given: Mapping[str, object]) -> Credentials:
    """Return the credentials in `given`, or raise Invalid. Of email and password only is known that both are text."""
    found = FieldErrors()
    email = found.check("email", _required_text, "email", given.get("email"))
    password = found.check("password", _required_text, "password", given.get("password"))
    ip_address = found.check("ip_address", _ip_address, given.get("ip_address"))
    found.errors += _unknown(given, ("email", "password", "ip_address"))
    if email is None or password is None or found.errors:
        raise Invalid(found.errors)
    return Credentials(email, password, ip_address)


def user_ids(given: Mapping[str, object]) -> list[str]:
    """Return the member `user_ids` of `given`, 1 to 100 texts, or raise Invalid."""
    found = FieldErrors()
    wanted = found.check("user_ids", _user_ids, given.get("user_ids"))
    found.errors += _unknown(given, ("user_ids",))
    if wanted is None or found.errors:
        raise Invalid(found.errors)
    return wanted


def new_password(given: object, rules: Rules) -> str:
    """Return a password that may replace a user's own, or raise Invalid."""
    found = FieldErrors()
    password = found.check("password", _password, given, rules)
    if password is None:
        raise Invalid(found.errors)
    return password


def new_key(name: object, scopes: frozenset[Permission]) -> NewKey:
    """Return the key with this `name` (1 to 255 characters, as a person's name) and `scopes`, or raise Invalid."""
    found = FieldErrors()
    checked = found.check("name", _required_name, name)
    if checked is None:
        raise Invalid(found.errors)
    return NewKey(checked, scopes)


def _text(name: str, value: object) -> str:
    """Return `value` if it is text, "" if it is absent."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise FieldRefused(FieldCode.INVALID_TYPE, f"{LABELS[name]} must be text (a JSON string)")
    return value


def _required(name: str, text: str) -> None:
    if not text:
        label = LABELS[name].lower()
        article = "an" if label[0] in "aeiou" else "a"
        raise FieldRefused(FieldCode.REQUIRED_FIELD, f"Enter {article} {label}")


def _required_text(name: str, value: object) -> str:
    text = _text(name, value)
    _required(name, text)
    return text


def _email(value: object, rules: Rules) -> Email:
    text = _text("email", value)
    _required("email", text.strip())
    try:
        return parse_email(text, allow_domains=rules.allow_domains, check_deliverability=rules.check_deliverability)
    except BadEmail as bad:
        raise FieldRefused(bad.code, _EMAIL_WORDS[bad.code].format(domain=bad.domain)) from None


def _whatever_domain(value: object, refused: Invalid) -> Email:
    """Return the email that was refused if that was for its domain alone, or raise `refused`."""
    try:
        return read_email(_text("email", value))
    except (BadEmail, FieldRefused):
        raise refused from None


_EMAIL_WORDS = {
    FieldCode.EMAIL_TOO_LONG: f"Email address must be {EMAIL_MAX_BYTES} bytes or fewer",
    FieldCode.INVALID_EMAIL_FORMAT: "Enter an email address in the correct format, like name@example.com",
    FieldCode.EMAIL_DOMAIN_RESERVED: '"{domain}" is reserved and cannot receive email. Use a real domain',
    FieldCode.EMAIL_DOMAIN_UNDELIVERABLE: '"{domain}" does not receive email. Check the spelling',
}


def _password(value: object, rules: Rules) -> str:
    """Return `value` untouched: never trimmed or cut. Its NFKC form, which is what gets hashed, must pass too."""
    text = _text("password", value)
    _required("password", text)
    # By bytes first: NFKC is then only computed on a short text.
    if _bytes(text) > hashing.MAX_BYTES or _bytes(hashing.normalise(text)) > hashing.MAX_BYTES:
        raise FieldRefused(FieldCode.PASSWORD_TOO_LONG, f"Password must be {hashing.MAX_BYTES:,} bytes or fewer")
    if any(c == "\0" or unicodedata.category(c) == "Cs" for c in text):
        raise FieldRefused(FieldCode.INVALID_CHARACTERS, "Password must not contain NUL or lone surrogates")
    if min(len(text), len(hashing.normalise(text))) < rules.password_min_length:
        words = f"Password must be at least {rules.password_min_length} characters"
        raise FieldRefused(FieldCode.PASSWORD_TOO_SHORT, words)
    if rules.password_blocklist and hashing.is_common(text):
        words = "This password is on a list of common passwords. Choose a different one"
        raise FieldRefused(FieldCode.PASSWORD_TOO_COMMON, words)
    return text


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _name(name: str, value: object) -> str | None:
    """Return `value` without outer white space and otherwise as sent; None if nothing is left."""
    text = _text(name, value).strip()
    if len(text) > NAME_MAX_LENGTH:
        raise FieldRefused(FieldCode.NAME_TOO_LONG, f"{LABELS[name]} must be {NAME_MAX_LENGTH} characters or fewer")
    if any(c in _BIDI_OVERRIDES or unicodedata.category(c) in _CONTROL_CATEGORIES for c in text):
        words = f"{LABELS[name]} must not contain line breaks or control characters"
        raise FieldRefused(FieldCode.INVALID_CHARACTERS, words)
    return text or None


def _required_name(value: object) -> str:
    text = _name("name", value)
    _required("name", text or "")
    return text or ""


def _ip_address(value: object) -> str | None:
    text = _text("ip_address", value)
    try:
        return str(read_ip_address(text)) if text else None
    except ValueError:
        words = "Enter an IP address, like 203.0.113.7 or 2001:db8::7"
        raise FieldRefused(FieldCode.INVALID_IP_ADDRESS, words) from None


def _boolean(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise FieldRefused(FieldCode.INVALID_TYPE, f"{LABELS[name]} must be true or false (a JSON boolean)")
    return value


def _user_ids(value: object) -> list[str]:
    texts = [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
    if texts != value or not 1 <= len(texts) <= MAX_USER_IDS:
        code = FieldCode.REQUIRED_FIELD if value is None else FieldCode.INVALID_TYPE
        raise FieldRefused(code, f"User ids must be a list of 1 to {MAX_USER_IDS} ids (a JSON array of strings)")
    return texts


def _role(value: object) -> Role | None:
    text = _text("global_role_id", value)
    if not text:
        return None
    if text not in set(Role):
        raise FieldRefused(FieldCode.INVALID_ROLE, f"Choose one of the roles: {', '.join(Role)}")
    return Role(text)


def _unknown(given: Mapping[str, object], fields: tuple[str, ...]) -> list[FieldError]:
    unknown = (name for name in given if name not in fields)
    return [_unknown_error(name, fields) for name in islice(unknown, _UNKNOWN_SHOWN)]


def _unknown_error(name: str, fields: tuple[str, ...]) -> FieldError:
    shown = name if len(name) <= _UNKNOWN_NAME_SHOWN else name[:_UNKNOWN_NAME_SHOWN] + "…"
    near = difflib.get_close_matches(shown.lower(), fields, n=1)
    advice = f'Did you mean "{near[0]}"?' if near else f"The fields are: {', '.join(fields)}"
    return FieldError(shown, FieldCode.UNKNOWN_FIELD, f'Unknown field "{shown}". {advice}')
