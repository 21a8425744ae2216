"""Errors of the request itself: its body, parameters, headers, method or host.

The codes, types, statuses and messages are the contract's error tables, like those in `errors`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from users.errors import EnrolError


class InvalidJson(EnrolError):
    """The body cannot be read as one JSON object. `details` is `{"line", "column"}` where known."""

    code = "INVALID_JSON"
    status = 400
    type = "invalid_request_error"
    system_message = "The request body could not be read as one JSON object"

    def __init__(self, message: str, *, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(details=details)
        self.message = message


class InvalidParameter(EnrolError):
    """A query parameter or a header is malformed. `details` is `{"parameter"}` if one parameter is wrong."""

    code = "INVALID_PARAMETER"
    status = 400
    type = "invalid_request_error"
    message = "A parameter or header of this request could not be read."
    system_message = "Malformed query parameter or header"

    def __init__(self, parameter: str | None = None, takes: str = "") -> None:
        super().__init__(details={"parameter": parameter} if parameter else None)
        if parameter:
            self.message = f"{parameter} takes {takes}."


class UntrustedHost(EnrolError):
    """The Host header is not one of `ENROL_TRUSTED_HOSTS`."""

    code = "UNTRUSTED_HOST"
    status = 400
    type = "invalid_request_error"
    message = "This address is not one that the service answers to."
    system_message = "The Host header is not in ENROL_TRUSTED_HOSTS"


class BaseUrlUnknown(UntrustedHost):
    """A link cannot be made, because the service does not know its base URL."""

    message = "No link can be made: the service does not know its own address. Set ENROL_PUBLIC_URL to it."
    system_message = "ENROL_PUBLIC_URL is not set, and the Host header is neither loopback nor trusted"


class MethodNotAllowed(EnrolError):
    """The path does not support this method; the Allow header names those that it supports."""

    code = "METHOD_NOT_ALLOWED"
    status = 405
    type = "invalid_request_error"
    message = "This address does not answer to that method."
    system_message = "Method not allowed; see the Allow header"


class PreconditionFailed(EnrolError):
    """The user does not have the ETag in If-Match, or no longer has it (RFC 9110, section 13.1.1)."""

    code = "PRECONDITION_FAILED"
    status = 412
    type = "conflict_error"
    message = "This user has changed since you read it. Read it again, then repeat your change."
    system_message = "The user's ETag is not among those in the If-Match header"


class WeakEntityTag(PreconditionFailed):
    """If-Match holds a weak tag, which never matches, and no tag that does."""

    message = (
        "If-Match holds a weak ETag, which begins with W/ and never matches. A proxy that compresses answers has made "
        "it weak. Set the proxy to keep ETags as they are, or send the ETag without the W/."
    )
    system_message = "If-Match compares strongly (RFC 9110, 13.1.1), so a weak tag does not match"


class PayloadTooLarge(EnrolError):
    """The body is larger than 64 KiB, or than `mebibytes` where a body may have some."""

    code = "PAYLOAD_TOO_LARGE"
    status = 413
    type = "invalid_request_error"
    message = "The request body must be 64 KiB or smaller."
    system_message = "Request body over 65,536 bytes"

    def __init__(self, *, mebibytes: int | None = None) -> None:
        super().__init__()
        if mebibytes:
            self.message = f"The request body must be {mebibytes} MiB or smaller."
            self.system_message = f"Request body over {mebibytes * 1024 * 1024:,} bytes"


class UnsupportedMediaType(EnrolError):
    """The body is not declared as plain application/json in UTF-8."""

    code = "UNSUPPORTED_MEDIA_TYPE"
    status = 415
    type = "invalid_request_error"
    message = "Send the body as JSON, with the header Content-Type: application/json."
    system_message = "Content-Type must be application/json in UTF-8, without a Content-Encoding"


class UnsupportedFileType(UnsupportedMediaType):
    """The body is not declared as a file of users."""

    message = "Send the file as it is, with the header Content-Type: text/csv, or application/x-ndjson for JSON lines."
    system_message = "Content-Type must be text/csv or application/x-ndjson, without a Content-Encoding"


class UnsupportedContentEncoding(UnsupportedMediaType):
    """The body is compressed. Accept-Encoding tells this from a wrong media type (RFC 9110, section 15.5.16)."""

    message = "Send the body as it is, without the header Content-Encoding: a compressed body is not read."
    system_message = "Content-Encoding must be absent or identity"
    default_headers: ClassVar = {"Accept-Encoding": "identity"}
