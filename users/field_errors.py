"""Errors of single fields: the contract's codes, one error as all doors show it, and a collector of errors."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

T = TypeVar("T")


class FieldCode(StrEnum):
    """The code of an error in one field of a request."""

    EMAIL_DOMAIN_RESERVED = "EMAIL_DOMAIN_RESERVED"
    EMAIL_DOMAIN_UNDELIVERABLE = "EMAIL_DOMAIN_UNDELIVERABLE"
    EMAIL_TOO_LONG = "EMAIL_TOO_LONG"
    INVALID_CHARACTERS = "INVALID_CHARACTERS"
    INVALID_EMAIL_FORMAT = "INVALID_EMAIL_FORMAT"
    INVALID_IP_ADDRESS = "INVALID_IP_ADDRESS"
    INVALID_ROLE = "INVALID_ROLE"
    INVALID_TYPE = "INVALID_TYPE"
    NAME_TOO_LONG = "NAME_TOO_LONG"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    PASSWORD_TOO_COMMON = "PASSWORD_TOO_COMMON"  # noqa: S105  (a code, not a password)
    PASSWORD_TOO_LONG = "PASSWORD_TOO_LONG"  # noqa: S105
    PASSWORD_TOO_SHORT = "PASSWORD_TOO_SHORT"  # noqa: S105
    PASSWORD_UNCHANGED = "PASSWORD_UNCHANGED"  # noqa: S105
    REQUIRED_FIELD = "REQUIRED_FIELD"
    UNKNOWN_FIELD = "UNKNOWN_FIELD"
    USER_ALREADY_EXISTS = "USER_ALREADY_EXISTS"


class RowCode(StrEnum):
    """The code of an error that only a row of an import can have, beside those of fields."""

    CONFLICTING_FIELDS = "CONFLICTING_FIELDS"
    DUPLICATE_IN_FILE = "DUPLICATE_IN_FILE"
    ID_ALREADY_EXISTS = "ID_ALREADY_EXISTS"
    INVALID_BOOLEAN = "INVALID_BOOLEAN"
    INVALID_ID = "INVALID_ID"
    INVALID_JSON = "INVALID_JSON"
    INVALID_TIME = "INVALID_TIME"
    PASSWORD_HASH_INVALID = "PASSWORD_HASH_INVALID"  # noqa: S105
    PASSWORD_HASH_TOO_COSTLY = "PASSWORD_HASH_TOO_COSTLY"  # noqa: S105
    PASSWORD_HASH_UNSUPPORTED = "PASSWORD_HASH_UNSUPPORTED"  # noqa: S105
    PASSWORD_HASH_WEAK = "PASSWORD_HASH_WEAK"  # noqa: S105
    ROLE_NOT_GRANTABLE = "ROLE_NOT_GRANTABLE"
    ROW_TOO_LARGE = "ROW_TOO_LARGE"
    TIME_IN_FUTURE = "TIME_IN_FUTURE"
    TOO_MANY_CELLS = "TOO_MANY_CELLS"


@dataclass(frozen=True)
class FieldError:
    """An error in one field. `message` is for people and never contains the value that was sent."""

    field: str
    code: FieldCode | RowCode
    message: str

    def as_dict(self) -> dict[str, str]:
        """Return the members `field`, `code` and `message`, as `details.errors` shows them."""
        return {"field": self.field, "code": str(self.code), "message": self.message}


class FieldRefused(Exception):
    """A value is refused."""

    def __init__(self, code: FieldCode | RowCode, message: str) -> None:
        super().__init__(code)
        self.code = code
        self.message = message


class FieldErrors:
    """Collects the errors of all fields, so that one response has them all."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []

    def check(self, name: str, rule: Callable[..., T], *args: object) -> T | None:
        """Return the result of `rule(*args)`, or None after adding its refusal as an error of the field `name`."""
        try:
            return rule(*args)
        except FieldRefused as refused:
            self.errors.append(FieldError(name, refused.code, refused.message))
            return None
