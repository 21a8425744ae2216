"""The expected errors, each a small class: raised anywhere, rendered by `http/error_responses` and `cli/command`.

The codes, types, statuses and messages are the contract's error tables. They stand only here, in `request_errors` and
in `field_errors`.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from users import clock
from users.field_errors import FieldCode, FieldError


class EnrolError(Exception):
    """An expected error. The class says what happened, the instance adds `details` and response `headers`."""

    code: str = "INTERNAL_SERVER_ERROR"
    status: int = 500
    type: str = "server_error"
    message: str = "Something went wrong on our side. Try again, and give the trace id if it happens again."
    system_message: str = "Unexpected error"
    default_headers: ClassVar[Mapping[str, str]] = {}

    def __init__(self, *, details: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(self.code)
        self.details: dict[str, Any] = dict(details or {})
        self.headers: dict[str, str] = {**self.default_headers, **(headers or {})}


class InternalServerError(EnrolError):
    """An error in Enrol. The log has the cause under the trace id; the response does not."""


class AuthenticationRequired(EnrolError):
    """The key is missing, unknown or malformed. The message is exactly that of the reference page."""

    code = "AUTHENTICATION_REQUIRED"
    status = 401
    type = "authentication_error"
    message = "Authentication required. Please provide a valid API key."
    system_message = "Missing or invalid authorization header"
    default_headers: ClassVar = {"WWW-Authenticate": 'Bearer realm="enrol"'}


class ApiKeyExpired(AuthenticationRequired):
    """The key is right but has expired."""

    code = "API_KEY_EXPIRED"
    message = "This API key has expired. Create a new one."
    system_message = "The API key is past its expires_at"
    default_headers: ClassVar = {"WWW-Authenticate": 'Bearer realm="enrol", error="invalid_token"'}


class ApiKeyDeactivated(AuthenticationRequired):
    """The key is right but was revoked, or its owner is inactive or deleted."""

    code = "API_KEY_DEACTIVATED"
    message = "This API key has been deactivated. Create a new one."
    system_message = "The API key is revoked or its owner is not active"
    default_headers: ClassVar = {"WWW-Authenticate": 'Bearer realm="enrol", error="invalid_token"'}


class Denied(EnrolError):
    """The caller lacks the permissions `missing`. WWW-Authenticate names them; the body is the reference page's."""

    code = "INSUFFICIENT_PERMISSIONS"
    status = 403
    type = "authorization_error"
    message = "You do not have permission to access this resource."
    system_message = "Insufficient permissions for this operation"

    def __init__(self, missing: Iterable[str]) -> None:
        self.missing = " ".join(sorted(missing))
        challenge = f'Bearer error="insufficient_scope", scope="{self.missing}"'
        super().__init__(headers={"WWW-Authenticate": challenge})


class NotFound(EnrolError):
    """The path does not exist."""

    code = "NOT_FOUND"
    status = 404
    type = "not_found_error"
    message = "There is nothing at this address."
    system_message = "No route matches this path"


class UserNotFound(NotFound):
    """The user does not exist, or the API key that asks for its owner has none."""

    code = "USER_NOT_FOUND"
    message = "There is no such user."
    system_message = "No user matches, or the API key has no owner"


class KeyNotFound(NotFound):
    """The API key does not exist."""

    message = "There is no such API key. List them with: flask keys list"
    system_message = "No API key matches"


class Conflict(EnrolError):
    """The email belongs to the user `user_id` (None if that user was deleted meanwhile)."""

    code = "USER_ALREADY_EXISTS"
    status = 409
    type = "conflict_error"
    message = "A user with this email address already exists"
    system_message = "The email is taken by a user who is not deleted"

    def __init__(self, *, user_id: str | None, show_user_id: bool) -> None:
        self.user_id = user_id
        error = FieldError("email", FieldCode.USER_ALREADY_EXISTS, self.message)
        shown = {"user_id": user_id} if user_id and show_user_id else {}
        super().__init__(details={"field": "email", "errors": [error.as_dict()], **shown})


class LastAdministrator(EnrolError):
    """The act would leave the service without an active administrator: `user_id` is the last one."""

    code = "LAST_ADMINISTRATOR"
    status = 409
    type = "conflict_error"
    message = "This is the last active administrator. Give another user the role first."
    system_message = "At least one active user must hold role_admin"

    def __init__(self, user_id: str) -> None:
        super().__init__()
        self.user_id = user_id


class UserDeactivated(EnrolError):
    """The act needs an active user, and this one is deactivated."""

    code = "USER_DEACTIVATED"
    status = 409
    type = "conflict_error"
    message = "This user is deactivated. Reactivate them first."
    system_message = "A password link is for an active user"


class IdempotencyKeyReused(EnrolError):
    """The caller sent another body with this Idempotency-Key less than a day ago."""

    code = "IDEMPOTENCY_KEY_REUSED"
    status = 422
    type = "validation_error"
    message = "This Idempotency-Key was used for another request. Use a new one."
    system_message = "The Idempotency-Key belongs to a request with another body"


class Invalid(EnrolError):
    """At least one field is wrong; `errors` has all errors, in the order of the fields."""

    code = "VALIDATION_ERROR"
    status = 422
    type = "validation_error"
    system_message = "One or more fields did not pass validation; see details.errors"

    def __init__(self, errors: Iterable[FieldError]) -> None:
        self.errors = tuple(errors)
        first = self.errors[0]
        super().__init__(details={"field": first.field, "errors": [error.as_dict() for error in self.errors]})
        if len(self.errors) == 1:
            self.code = str(first.code)
        sentences = (one.message if one.message.endswith("?") else f"{one.message}." for one in self.errors)
        self.message = first.message if len(self.errors) == 1 else " ".join(sentences)


class RateLimitExceeded(EnrolError):
    """The caller sent more requests than the limit allows; the next one is accepted in `seconds`."""

    code = "RATE_LIMIT_EXCEEDED"
    status = 429
    type = "rate_limit_error"
    message = "Too many requests. Wait for the seconds that Retry-After says, then try again."
    system_message = "The rate limit is used up; see the Retry-After header"

    def __init__(self, seconds: float) -> None:
        super().__init__(headers={"Retry-After": str(max(1, clock.whole_seconds(seconds)))})


class TooManyBodies(RateLimitExceeded):
    """Too many different bodies came with one Idempotency-Key: each could be a guess at a password."""

    message = "This Idempotency-Key was sent with too many different bodies. Use a new one for each new request."
    system_message = "Ten other bodies were sent under this Idempotency-Key; see the Retry-After header"


class TooManyWrongPasswords(RateLimitExceeded):
    """Too many wrong passwords for one account or from one network; the message does not say which."""

    what = "password"

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        minutes = max(1, math.ceil(clock.whole_seconds(seconds) / 60))
        wait = "1 minute" if minutes == 1 else f"{minutes} minutes"
        self.message = f"The {self.what} was wrong too many times. Wait {wait}, then try again"


class AccountLocked(RateLimitExceeded):
    """After 100 wrong passwords in a row, unknown browsers and networks are locked out of the account.

    The lock ends when the user gets a new password or an administrator unlocks the account.
    """

    message = (
        "The password was wrong too many times in a row. Sign in where you have signed in before, or ask an "
        "administrator to unlock the account or for a new password"
    )

    def __init__(self) -> None:
        super().__init__(3600)  # the lock does not end by itself, so a program need not try more than once in an hour


class Overloaded(EnrolError):
    """The hash queue of this process is full."""

    code = "OVERLOADED"
    status = 503
    type = "server_error"
    message = "The service is busy. Try again in a few seconds."
    system_message = "The hashing queue is full"
    # Two cores finish a full queue of 16 in about 1.3 s with the default parameters.
    default_headers: ClassVar = {"Retry-After": "2"}


READ_ONLY = "read-only"  # the reason of an Unavailable: the database can be read, and takes no writes


class Unavailable(EnrolError):
    """The database cannot be used now. `hint` is a sentence for the operator, never the driver's text.

    `reason` is that of /readyz: "database", "encoding", "schema" or READ_ONLY. `outcome_unknown`: the connection was
    lost during COMMIT.
    """

    code = "SERVICE_UNAVAILABLE"
    status = 503
    type = "server_error"
    message = "The service is temporarily unavailable. Try again in a few seconds."
    system_message = "The database cannot be used at the moment"
    default_headers: ClassVar = {"Retry-After": "5"}

    def __init__(self, hint: str, *, reason: str = "database", outcome_unknown: bool = False) -> None:
        super().__init__(details={"outcome": "unknown"} if outcome_unknown else None)
        self.hint = hint
        self.reason = reason
