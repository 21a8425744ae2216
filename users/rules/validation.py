"""Validation of whole inputs: every door passes a mapping and gets a checked object or all errors. No Flask.

Each rule is a line of the contract (SPEC, Create). The database alone decides that an email is unique, by the index on
`users.email_key`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from users.errors import Invalid
from users.field_errors import FieldErrors, FieldRefused
from users.passwords import policy
from users.roles import Permission, Role
from users.rules import field_checks
from users.rules.emails import BadEmail, Email, read_email

PAGE_FIELDS = ("email", "first_name", "last_name", "password")  # what POST /v1/user/ takes, in the page's order
ADMIN_FIELDS = (*PAGE_FIELDS, "global_role_id")  # the form and the command line may also give a role
CHANGE_FIELDS = (*PAGE_FIELDS, "is_active", "global_role_id")  # what can be changed afterwards


@dataclass(frozen=True)
class Rules:
    """The rules that an installation can set; the defaults are those of the settings of the same names."""

    password_min_length: int = policy.MIN_LENGTH
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
    """Changes to a user: checked and normalised. Only the fields in `given` change; None clears one.

    A user may keep an email whose domain is not allowed any more: `bad_domain` is the error to raise if the user's
    present email differs from `email`.
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
    """What a user typed to sign in at another application, and the IP address it came from."""

    email: str
    password: str = field(repr=False)
    ip_address: str | None = None


@dataclass(frozen=True)
class NewKey:
    """An API key that may be made."""

    name: str
    scopes: frozenset[Permission]


def new_user(given: Mapping[str, object], rules: Rules, *, fields: tuple[str, ...] = PAGE_FIELDS) -> NewUser:
    """Return the user that `given` describes; its members may be those named in `fields`.

    Raises Invalid with every error of every field at once, in the order of `fields`, unknown members last.
    """
    found = FieldErrors()
    email = found.check("email", _email, given.get("email"), rules)
    first_name = found.check("first_name", field_checks.name, "first_name", given.get("first_name"))
    last_name = found.check("last_name", field_checks.name, "last_name", given.get("last_name"))
    password = found.check("password", _password, given.get("password"), rules)
    role = None
    if "global_role_id" in fields:
        role = found.check("global_role_id", field_checks.role, given.get("global_role_id"))
    found.errors += field_checks.unknown_fields(given, fields)
    if email is None or password is None or found.errors:
        raise Invalid(found.errors)
    return NewUser(email, password, first_name, last_name, role)


def user_changes(given: Mapping[str, object], rules: Rules) -> UserChanges:
    """Return the changes that `given` describes, whose members may be those of CHANGE_FIELDS.

    Raises Invalid with every error of every field at once, in the order of CHANGE_FIELDS, unknown members last.
    """
    checks: dict[str, Callable[[object], object]] = {
        "email": lambda value: _email(value, rules),
        "first_name": lambda value: field_checks.name("first_name", value),
        "last_name": lambda value: field_checks.name("last_name", value),
        "password": lambda value: _password(value, rules),
        "is_active": lambda value: field_checks.boolean("is_active", value),
        "global_role_id": field_checks.role,
    }
    found = FieldErrors()
    values: dict[str, Any] = {name: found.check(name, checks[name], given[name]) for name in checks if name in given}
    found.errors += field_checks.unknown_fields(given, CHANGE_FIELDS)
    if not found.errors:
        return UserChanges(frozenset(values), **values)
    refused = Invalid(found.errors)
    if [one.field for one in found.errors] != ["email"]:
        raise refused
    values["email"] = _of_any_domain(given["email"], refused)
    return UserChanges(frozenset(values), **values, bad_domain=refused)


def credentials(given: Mapping[str, object]) -> Credentials:
    """Return the credentials in `given`, or raise Invalid. Email and password are only checked to be text."""
    found = FieldErrors()
    email = found.check("email", field_checks.required_text, "email", given.get("email"))
    password = found.check("password", field_checks.required_text, "password", given.get("password"))
    ip_address = found.check("ip_address", field_checks.ip_address, given.get("ip_address"))
    found.errors += field_checks.unknown_fields(given, ("email", "password", "ip_address"))
    if email is None or password is None or found.errors:
        raise Invalid(found.errors)
    return Credentials(email, password, ip_address)


def user_ids(given: Mapping[str, object]) -> list[str]:
    """Return the member `user_ids` of `given`, 1 to 100 texts, or raise Invalid."""
    found = FieldErrors()
    wanted = found.check("user_ids", field_checks.user_ids, given.get("user_ids"))
    found.errors += field_checks.unknown_fields(given, ("user_ids",))
    if wanted is None or found.errors:
        raise Invalid(found.errors)
    return wanted


def new_password(given: object, rules: Rules) -> str:
    """Return the password in `given` if it may replace a user's own, or raise Invalid."""
    found = FieldErrors()
    password = found.check("password", _password, given, rules)
    if password is None:
        raise Invalid(found.errors)
    return password


def new_key(name: object, scopes: frozenset[Permission]) -> NewKey:
    """Return the key with this `name` (1 to 255 characters, as a person's name) and `scopes`, or raise Invalid."""
    found = FieldErrors()
    checked = found.check("name", field_checks.required_name, name)
    if checked is None:
        raise Invalid(found.errors)
    return NewKey(checked, scopes)


def _email(value: object, rules: Rules) -> Email:
    return field_checks.email(value, allow_domains=rules.allow_domains, check_deliverability=rules.check_deliverability)


def _password(value: object, rules: Rules) -> str:
    return field_checks.password(value, min_length=rules.password_min_length, blocklist=rules.password_blocklist)


def _of_any_domain(value: object, refused: Invalid) -> Email:
    """Return the email if only its domain was refused, else raise `refused`."""
    try:
        return read_email(field_checks.text("email", value))
    except (BadEmail, FieldRefused):
        raise refused from None
