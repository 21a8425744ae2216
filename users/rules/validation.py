"""Validation of whole inputs: every door passes a mapping and gets a checked object or all errors. No Flask.

Each rule is part of the contract. The database alone decides that an email is unique, by the index on
`users.email_key`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from users.errors import Invalid
from users.field_errors import FieldErrors
from users.passwords import policy
from users.passwords.password_lists import DigestList
from users.roles import Permission, Role
from users.rules import field_checks
from users.rules.emails import AskDns, Email, possible_emails


@dataclass(frozen=True)
class Rules:
    """The rules that an installation can set; the defaults are those of the settings of the same names."""

    password_min_length: int = policy.MIN_LENGTH
    password_blocklist: bool = False
    password_blocklist_file: DigestList | None = None  # what the file lists
    allow_domains: frozenset[str] = frozenset()
    check_deliverability: bool = False
    ask: AskDns | None = field(default=None, repr=False)  # how DNS is asked; None: about each email

    def stricter(self, *, second_factor_required: bool) -> "Rules":
        """Return the rules for a password that a user with a permission chooses, who signs in to the pages with it.

        They refuse common passwords and, where the password is the only factor, those of fewer than 15 characters.
        """
        least = 0 if second_factor_required else policy.ONLY_FACTOR_MIN_LENGTH
        return replace(self, password_min_length=max(self.password_min_length, least), password_blocklist=True)


@dataclass(frozen=True)
class ProfileField:
    """A field of a user that a caller may give, and what each door and the services need to know of it."""

    name: str  # in JSON, in forms and in the audit trail
    label: str  # in forms and messages
    check: Callable[[str, object, Rules], Any]  # takes the label and the given value, returns the value to keep
    in_api_create: bool = True  # POST /v1/user/ and the set-up page take it
    in_forms: bool = True  # the forms for administrators and `flask users create` take it
    is_column: bool = True  # stored unchanged in the column of the same name
    autocomplete: str = "off"  # in a form that people fill in for themselves (HTML Standard, section 4.10.18.7)
    default: object = None  # of a new user for whom it is not given


def _email(_label: str, value: object, rules: Rules) -> Email:
    return field_checks.email(
        value,
        allow_domains=rules.allow_domains,
        check_deliverability=rules.check_deliverability,
        ask=rules.ask,
    )


def _text(label: str, value: object, _rules: Rules) -> str | None:
    return field_checks.name(label, value)


def _password(_label: str, value: object, rules: Rules) -> str:
    return field_checks.password(
        value,
        min_length=rules.password_min_length,
        blocklist=rules.password_blocklist,
        own_list=rules.password_blocklist_file,
    )


def _boolean(label: str, value: object, _rules: Rules) -> bool:
    return field_checks.boolean(label, value)


def _role(_label: str, value: object, _rules: Rules) -> Role | None:
    return field_checks.role(value)


# In the order of forms and errors. Each is a member of UserChanges and, if a new user can have it, of NewUser.
PROFILE_FIELDS = (
    ProfileField("email", "Email address", _email, is_column=False),
    ProfileField("first_name", "First name", _text, autocomplete="given-name"),
    ProfileField("last_name", "Last name", _text, autocomplete="family-name"),
    ProfileField("password", "Password", _password, is_column=False),
    ProfileField("password_change_required", "Password change required", _boolean, in_api_create=False, default=False),
    ProfileField("is_active", "Active", _boolean, in_api_create=False, in_forms=False),
    ProfileField("global_role_id", "Role", _role, in_api_create=False),
)
TEXT_FIELDS = tuple(one for one in PROFILE_FIELDS if one.check is _text)  # all are optional
CREATE_FIELDS = tuple(one.name for one in PROFILE_FIELDS if one.in_api_create)
INVITE_FIELDS = tuple(name for name in CREATE_FIELDS if name != "password")
ADMIN_FIELDS = tuple(one.name for one in PROFILE_FIELDS if one.in_forms)
ADMIN_INVITE_FIELDS = tuple(name for name in ADMIN_FIELDS if name not in ("password", "password_change_required"))
CHANGE_FIELDS = tuple(one.name for one in PROFILE_FIELDS)
COLUMN_FIELDS = tuple(one.name for one in PROFILE_FIELDS if one.is_column)
_BY_NAME = {one.name: one for one in PROFILE_FIELDS}
_LIFETIME = "expires_in"


@dataclass(frozen=True)
class NewUser:
    """A user that may be created: checked and normalised, the password not yet hashed. Without one they need a link."""

    email: Email
    password: str | None = field(default=None, repr=False)
    first_name: str | None = None
    last_name: str | None = None
    password_change_required: bool = False
    global_role_id: Role | None = None


@dataclass(frozen=True)
class UserChanges:
    """Changes to a user: checked and normalised. Only the fields in `given` change; None clears one.

    A user may keep an email that is not allowed any more: `bad_email` is the error to raise if the user's present email
    differs from `email`. No email changes where the present one is `email_as_sent`, which older versions did not tidy.
    """

    given: frozenset[str]  # of CHANGE_FIELDS
    email: Email | None = None
    first_name: str | None = None
    last_name: str | None = None
    password: str | None = field(default=None, repr=False)
    password_change_required: bool | None = None
    is_active: bool | None = None
    global_role_id: Role | None = None
    email_as_sent: object = None
    bad_email: Invalid | None = None


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


def new_user(given: Mapping[str, object], rules: Rules, *, fields: tuple[str, ...] = CREATE_FIELDS) -> NewUser:
    """Return the user that `given` describes; its members may be those named in `fields`.

    Raises Invalid with every error of every field at once, in the order of PROFILE_FIELDS, unknown members last.
    """
    found = FieldErrors()
    values = _new_values(found, given, rules, fields)
    found.errors += field_checks.unknown_fields(given, fields)
    if found.errors:
        raise Invalid(found.errors)
    return NewUser(**values)


def invitation(
    given: Mapping[str, object], rules: Rules, *, fields: tuple[str, ...] = INVITE_FIELDS
) -> tuple[NewUser, timedelta | None]:
    """Return the user without a password that `given` describes, and how long the link is to work if it says so.

    Its members may be those named in `fields` and `expires_in`. Raises Invalid as `new_user` does.
    """
    found = FieldErrors()
    values = _new_values(found, given, rules, fields)
    lifetime = _link_lifetime(found, given)
    found.errors += field_checks.unknown_fields(given, (*fields, _LIFETIME))
    if found.errors:
        raise Invalid(found.errors)
    return NewUser(**values), lifetime


def link_lifetime(given: Mapping[str, object]) -> timedelta | None:
    """Return how long a password link is to work: the only member `expires_in` of `given`, None if it is absent.

    Raises Invalid.
    """
    found = FieldErrors()
    lifetime = _link_lifetime(found, given)
    found.errors += field_checks.unknown_fields(given, (_LIFETIME,))
    if found.errors:
        raise Invalid(found.errors)
    return lifetime


def user_changes(given: Mapping[str, object], rules: Rules) -> UserChanges:
    """Return the changes that `given` describes, whose members may be those of CHANGE_FIELDS.

    Raises Invalid with every error of every field at once, in the order of PROFILE_FIELDS, unknown members last.
    """
    found = FieldErrors()
    values = {one.name: _check(found, one, given[one.name], rules) for one in PROFILE_FIELDS if one.name in given}
    found.errors += field_checks.unknown_fields(given, CHANGE_FIELDS)
    sent = given.get("email")
    if not found.errors:
        return UserChanges(frozenset(values), **values, email_as_sent=sent)
    refused = Invalid(found.errors)
    if [one.field for one in found.errors] != ["email"]:
        raise refused
    values["email"] = _present_email(sent, refused)
    return UserChanges(frozenset(values), **values, email_as_sent=sent, bad_email=refused)


def check_field(found: FieldErrors, name: str, value: object, rules: Rules) -> Any:
    """Return the value to keep of the field `name` of PROFILE_FIELDS, or None after adding its error to `found`."""
    return _check(found, _BY_NAME[name], value, rules)


def credentials(given: Mapping[str, object]) -> Credentials:
    """Return the credentials in `given`, or raise Invalid. Email and password are only checked to be text."""
    found = FieldErrors()
    email = found.check("email", field_checks.required_text, "Email address", given.get("email"))
    password = found.check("password", field_checks.required_text, "Password", given.get("password"))
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
    password = found.check("password", _password, "Password", given, rules)
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


def factor_name(name: object) -> str:
    """Return the name of a second factor, up to 255 characters as a person's name, "" for none. Raises Invalid."""
    found = FieldErrors()
    checked = found.check("name", field_checks.name, "Name", name)
    if found.errors:
        raise Invalid(found.errors)
    return checked or ""


def _new_values(
    found: FieldErrors, given: Mapping[str, object], rules: Rules, fields: tuple[str, ...]
) -> dict[str, Any]:
    wanted = [one for one in PROFILE_FIELDS if one.name in fields]
    return {one.name: _check(found, one, given.get(one.name, one.default), rules) for one in wanted}


def _link_lifetime(found: FieldErrors, given: Mapping[str, object]) -> timedelta | None:
    return found.check(_LIFETIME, field_checks.link_lifetime, given[_LIFETIME]) if _LIFETIME in given else None


def _check(found: FieldErrors, profile_field: ProfileField, value: object, rules: Rules) -> Any:
    return found.check(profile_field.name, profile_field.check, profile_field.label, value, rules)


def _present_email(value: object, refused: Invalid) -> Email:
    """Return the email if an older version or other settings may have taken it, else raise `refused`."""
    possible = possible_emails(value) if isinstance(value, str) else []
    if not possible:
        raise refused
    return possible[0]
