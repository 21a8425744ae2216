"""The request body as a file: its bytes as they arrive, in chunks or not, and never all of them in memory."""

import contextlib
import io
from collections.abc import Iterator

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge

from users.bulk.files import encodings
from users.bulk.files.refusals import UnknownEncoding
from users.bulk.imports.errors import FileTooLarge
from users.errors import EnrolError
from users.request_errors import InvalidParameter, UnsupportedContentEncoding, UnsupportedFileType

TYPES = ("text/csv", "application/x-ndjson")
_MOST_DISCARDED = 8 * 1024 * 1024
_PIECE = 64 * 1024
_MARKED = ("utf-8", "utf8", "utf-16")  # a byte order mark tells which, and no name is needed


class FileBody(io.RawIOBase):
    """The bytes of the body. Whoever reads counts them.

    Reading raises InvalidParameter if the connection ends before the body does.
    """

    def __init__(self, request: Request, *, most: int) -> None:
        self._expected = request.content_length
        if (self._expected or 0) > most:
            raise FileTooLarge(most)
        request.max_content_length = most + 1  # one more: Werkzeug truncates a chunked body there without an error
        self._request = request
        self._count = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]  # of what a file takes
        """Read the next bytes; 0 at the end."""
        piece = self._next(len(buffer))
        buffer[: len(piece)] = piece
        self._count += len(piece)
        # Some servers pass on the part before the connection closed, and then the end.
        if not piece and self._expected not in (None, self._count):
            raise _broken()
        return len(piece)

    def _next(self, size: int) -> bytes:
        try:
            return self._request.stream.read(size)
        except RequestEntityTooLarge:  # of a chunked body, whose reader has one byte too many by now
            return b""
        except Exception:  # a malformed chunk or a closed connection, for which each server raises its own error
            raise _broken() from None


def _broken() -> InvalidParameter:
    error = InvalidParameter("Content-Length", "the number of bytes of the body")
    error.message = "The request body did not arrive whole."
    return error


@contextlib.contextmanager
def discarding(request: Request) -> Iterator[None]:
    """Read some of a body that is refused unread. A client or proxy that still sends it would else miss the answer."""
    try:
        yield
    except EnrolError:
        # Nobody has begun to read, and the client does not wait to be asked for the body.
        if "stream" not in vars(request) and "Expect" not in request.headers:
            _discard(request)
        raise


def _discard(request: Request) -> None:
    left = min(request.content_length or 0, _MOST_DISCARDED)
    with contextlib.suppress(Exception):  # each server raises its own error for a closed connection
        while left and (piece := request.environ["wsgi.input"].read(min(left, _PIECE))):
            left -= len(piece)


def require_type(request: Request) -> None:
    """Raise UnsupportedFileType or UnsupportedContentEncoding unless the body says that it is a file of users."""
    if request.mimetype not in TYPES:
        raise UnsupportedFileType(headers={"Accept": ", ".join(TYPES)})
    codings = request.headers.get("Content-Encoding", "").lower().split(",")
    if any(coding.strip() not in ("", "identity") for coding in codings):
        raise UnsupportedContentEncoding


def encoding(request: Request) -> str | None:
    """Return the encoding that the charset of the media type names, None for UTF-8 and where a mark tells it.

    Raises InvalidParameter for one that is not read.
    """
    name = request.mimetype_params.get("charset", "utf-8").lower()
    try:
        codec = encodings.codec_of(name)
    except UnknownEncoding:
        raise InvalidParameter("charset", f"one of {', '.join(encodings.NAMES)}") from None
    return None if name in _MARKED else codec
