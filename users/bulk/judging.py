"""The judgement of a row: every rule but the database's and the file's other rows, and all errors at once.

The fields that a create takes are checked as a create checks them, by `rules/validation`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, TypeVar

from users import clock, ids
from users.bulk import times
from users.bulk.domain_memory import DnsMemory, DomainMemory
from users.bulk.options import Options
from users.bulk.rows import BadRow, GoodRow, Row
from users.field_errors import FieldErrors, FieldRefused, RowCode
from users.passwords import foreign
from users.roles import Permission, Role
from users.rules import field_checks, validation
from users.rules.validation import Rules

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_LABELS = {"password_hash": "Password hash", "last_verified": "Last verified", "created_at": "Created at", "id": "Id"}
_MAY_BE_AHEAD = timedelta(seconds=60)  # the clock of another system
MOST_NAMES = 10_000  # 1 MB of usual names

T = TypeVar("T")


@dataclass(frozen=True)
class Judge:
    """Judges the rows of one import. `permissions` are those of the actor."""

    options: Options
    rules: Rules
    permissions: frozenset[Permission]
    dns: DnsMemory = field(default_factory=DnsMemory, repr=False, compare=False)
    _domains: DomainMemory = field(default_factory=DomainMemory, repr=False, compare=False)
    _names: set[str] = field(default_factory=set, repr=False, compare=False)  # that passed: most come again and again

    def judge(self, row: Row) -> GoodRow | BadRow:
        """Return the row as it may be inserted, or all its errors: of the row as a whole, then in order of COLUMNS."""
        if row.errors and not row.cells:  # it could not be read
            return BadRow(row.number, row.errors)
        cells, found = row.cells, FieldErrors()
        found.errors += row.errors
        email = self._email(found, cells.get("email"))
        first_name = self._name(found, "first_name", cells.get("first_name"))
        last_name = self._name(found, "last_name", cells.get("last_name"))
        given_password, password_hash = _given(cells.get("password")), _given(cells.get("password_hash"))
        password: Any = given_password
        if password is not None or (password_hash is None and not self.options.no_password):
            password = validation.check_field(found, "password", password, self.rules)
        kept = _check(found, cells, "password_hash", self._hash, given_password is not None)
        role = _check(found, cells, "global_role_id", self._role)
        is_active = _check(found, cells, "is_active", _boolean)
        last_verified = _check(found, cells, "last_verified", _time, "last_verified")
        created_at = _check(found, cells, "created_at", _time, "created_at")
        user_id = _check(found, cells, "id", _id) if self.options.keep_ids else None
        if found.errors or email is None:
            given = cells.get("email")
            return BadRow(row.number, tuple(found.errors), given if isinstance(given, str) else "")
        return GoodRow(
            number=row.number,
            email=email,
            first_name=first_name,
            last_name=last_name,
            role=role,
            is_active=is_active is not False,
            last_verified=last_verified,
            created_at=created_at,
            id=user_id,
            password=password,
            password_hash=kept.text if kept else None,
            password_make=kept.make if kept else None,
        )

    def _email(self, found: FieldErrors, value: object) -> Any:
        known = self._domains.find(value)
        if known:
            return known
        email = validation.check_field(found, "email", value, self._rules_of_emails)
        if email:
            self._domains.note(value, email)
        return email

    @cached_property
    def _rules_of_emails(self) -> Rules:
        return replace(self.rules, ask=self.dns.ask)

    def _name(self, found: FieldErrors, name: str, value: object) -> Any:
        if value is None or (isinstance(value, str) and value in self._names):
            return value
        kept = validation.check_field(found, name, value, self.rules)
        if kept == value:
            if len(self._names) >= MOST_NAMES:
                self._names.clear()
            self._names.add(kept)
        return kept

    def _hash(self, value: object, has_password: bool) -> foreign.ForeignHash | None:
        text = field_checks.text(_LABELS["password_hash"], value)
        if has_password:
            raise FieldRefused(RowCode.CONFLICTING_FIELDS, "Give a password or a password hash, not both")
        try:
            return foreign.judge(text)
        except foreign.NotKept as refused:
            if refused.code == RowCode.PASSWORD_HASH_WEAK and self.options.no_password:
                return None
            raise FieldRefused(refused.code, refused.message) from None

    def _role(self, value: object) -> Role | None:
        role = field_checks.role(value)
        if role:
            field_checks.require_grantable(role, self.permissions)
        return role


def _given(value: object) -> object:
    """Return the value of a cell, None if it is empty."""
    return None if value == "" else value


def _check(
    found: FieldErrors, cells: Mapping[str, object], name: str, rule: Callable[..., T], *more: object
) -> T | None:
    """Return the result of the rule for a cell; None for an empty one, and after an error, which goes to `found`."""
    value = cells.get(name)
    return None if value is None or value == "" else found.check(name, rule, value, *more)


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return field_checks.boolean("Active", value)  # raises
    found = _BOOLEANS.get(value.strip().lower())
    if found is None:
        raise FieldRefused(RowCode.INVALID_BOOLEAN, "Write true or false")
    return found


def _time(value: object, name: str) -> datetime | None:
    text = field_checks.text(_LABELS[name], value).strip()
    if not text:
        return None
    try:
        moment = times.parse(text)
    except ValueError:
        raise FieldRefused(RowCode.INVALID_TIME, "Write the time like 2026-11-29T10:30:00Z") from None
    if moment.year < 1970:
        raise FieldRefused(RowCode.INVALID_TIME, f"{_LABELS[name]} must not be before 1970")
    if moment > clock.now() + _MAY_BE_AHEAD:
        raise FieldRefused(RowCode.TIME_IN_FUTURE, f"{_LABELS[name]} lies in the future")
    return moment


def _id(value: object) -> str:
    text = field_checks.text(_LABELS["id"], value)
    if not (ids.is_user_id(text) and ids.is_version_7(text)):
        message = "Write an id as Enrol makes them: usr_ and a UUIDv7 of 32 hexadecimal digits in lower case"
        raise FieldRefused(RowCode.INVALID_ID, message)
    # The times of a UUIDv7 go far beyond the calendar of `datetime`, and sort as texts.
    if text > ids.first("usr", clock.now() + _MAY_BE_AHEAD):
        raise FieldRefused(RowCode.INVALID_ID, "The time in this id lies in the future")
    return text
