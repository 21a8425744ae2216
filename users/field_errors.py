"""What can be wrong with one field of a request: the contract's codes, one error as every door shows it, and all."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

T = TypeVar("T")


class FieldCode(StrEnum):
    """What can be wrong with one field of a request."""

    EMAIL_DOMAIN_RESERVED = "EMAIL_DOMAIN_RESERVED"
    EMAIL_DOMAIN_UNDELIVERABLE = "EMAIL_DOMAIN_UNDELIVERABLE"
    EMAIL_TOO_LONG = "EMAIL_TOO_LONG"
    INVALID_CHARACTERS = "INVALID_CHARACTERS"
    INVALID_EMAIL_FORMAT = "INVALID_EMAIL_FORMAT"
    INVALID_IP_ADDRESS = "INVALID_IP_ADDRESS"
    INVALID_ROLE = "INVALID_ROLE"
    INVALID_TYPE = "INVALID_TYPE"
    NAME_TOO_LONG = "NAME_TOO_LONG"
    PASSWORD_TOO_COMMON = "PASSWORD_TOO_COMMON"  # noqa: S105  (a code, not a password)
    PASSWORD_TOO_LONG = "PASSWORD_TOO_LONG"  # noqa: S105
    PASSWORD_TOO_SHORT = "PASSWORD_TOO_SHORT"  # noqa: S105
    REQUIRED_FIELD = "REQUIRED_FIELD"
    UNKNOWN_FIELD = "UNKNOWN_FIELD"
    USER_ALREADY_EXISTS = "USER_ALREADY_EXISTS"


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with one field. `message` is for people and never holds the value that was sent."""

    field: str
    code: FieldCode
    message: str

    def as_dict(self) -> dict[str, str]:
        """Return the members `field`, `code` and `message`, as `details.errors` shows them."""
        return {"field": self.field, "code": str(self.code), "message": self.message}


class FieldRefused(Exception):
    """One value does not pass."""

    def __init__(self, code: FieldCode, message: str) -> None:
        super().__init__(code)
        self.code = code
        self.message = message


class FieldErrors:
    """Collects the errors of all fields, so that one answer tells them all."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []

    def check(self, name: str, rule: Callable[..., T], *args: object) -> T | None:
        """Return what `rule` makes of `args`, or None with the refusal noted for the field `name`."""
        try:
            return rule(*args)
        except FieldRefused as refused:
            self.errors.append(FieldError(name, refused.code, refused.message))
            return None
