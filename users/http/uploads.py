"""A form with a file, read while it arrives: the fields before the file, then the file in pieces, then the rest.

Werkzeug would keep the whole file before a view runs. Here the guard knows the caller and has checked the CSRF token,
which stands before the file, when the first byte of the file is read.
"""

import io
import sys
from collections.abc import Iterator

from flask import request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

from users.form_errors import FormNotUtf8, UploadBroken
from users.request_errors import PayloadTooLarge

MOST_FIELD_BYTES = 2 * 1024 * 1024  # of all parts but the file
_MOST_PARTS = 50
_CHUNK = 64 * 1024


class Upload(io.RawIOBase):
    """The file of a form, as a stream that ends when the whole form has arrived.

    Reading it raises UploadBroken if the connection ends before that, and FormNotUtf8 and PayloadTooLarge for the
    other fields.
    `fields` has all of them after the end, and those that stand before the file from the beginning.
    """

    def __init__(self, boundary: bytes) -> None:
        self.fields: MultiDict[str, str] = MultiDict()
        self.filename = ""
        self.received = 0  # bytes of the whole form
        self._events = self._decoded(MultipartDecoder(boundary, max_parts=_MOST_PARTS))
        self._outside = 0  # bytes of other parts than the file
        self._in_file = False
        self._piece = memoryview(b"")
        self._read_fields()

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]  # of what a file takes
        """Read the next bytes of the file; 0 when the form has ended."""
        if not self._piece:
            self._piece = memoryview(self._next_piece())
        count = min(len(buffer), len(self._piece))
        buffer[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count

    def _read_fields(self) -> None:
        """Read the fields up to a file that has a name, or to the end. A file that was not chosen has none."""
        for event in self._events:
            if isinstance(event, File) and event.filename and not self.filename:
                self.filename, self._in_file = event.filename, True
                return
            if isinstance(event, Field):
                self.fields.add(event.name, self._text())
            elif isinstance(event, File):
                self._text()

    def _next_piece(self) -> bytes:
        while self._in_file:
            event = next(self._events)
            if isinstance(event, Data):
                self._in_file = event.more_data
                if event.data:
                    return event.data
        self._read_fields()
        return b""

    def _text(self) -> str:
        parts = []
        for event in self._events:
            if isinstance(event, Data):
                parts.append(event.data)
                if not event.more_data:
                    break
        try:
            return b"".join(parts).decode("utf-8")
        except UnicodeDecodeError:
            raise FormNotUtf8 from None

    def _decoded(self, decoder: MultipartDecoder) -> Iterator[Event]:
        """Yield the parts as they arrive. Raises as the class says."""
        while True:
            try:
                event = decoder.next_event()
            except RequestEntityTooLarge:
                raise PayloadTooLarge from None
            except UnicodeDecodeError:
                raise FormNotUtf8 from None
            except ValueError:  # it has ended in the middle, or is no form
                raise UploadBroken from None
            if isinstance(event, NeedData):
                decoder.receive_data(self._received())
                continue
            yield event
            if isinstance(event, Epilogue):
                return

    def _received(self) -> bytes | None:
        try:
            data = request.stream.read(_CHUNK)
        except Exception:  # the connection has ended, for which each server raises its own error
            raise UploadBroken from None
        self.received += len(data)
        if not self._in_file:
            self._outside += len(data)
        if self._outside > MOST_FIELD_BYTES:
            raise PayloadTooLarge
        return data or None


def begin() -> Upload | None:
    """Read the form of this request up to its file, and let Flask take those fields for the form; None if it has none.

    Its reader bounds the file. Raises UploadBroken, FormNotUtf8 and PayloadTooLarge.
    """
    boundary = request.mimetype_params.get("boundary", "")
    if request.mimetype != "multipart/form-data" or not boundary.isascii() or not boundary:
        return None
    request.max_content_length = sys.maxsize
    kept = vars(request)  # where Werkzeug keeps what it has read
    kept["form"] = kept["files"] = MultiDict()
    upload = Upload(boundary.encode())
    kept["form"] = upload.fields
    return upload
