"""The lines of a file: decoded block by block, so the memory is bounded whatever the file holds."""

import codecs
import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import BinaryIO

from users.bulk.files import encodings
from users.bulk.files.layout import MAX_ROW_BYTES
from users.bulk.files.refusals import FileEncoding, FileRefused, nul

_BLOCK = 64 * 1024


class Unreadable(Exception):
    """The text ends here, before the end of the file. `refusal` makes the error of the number of a row."""

    def __init__(self, refusal: Callable[[int], FileRefused]) -> None:
        super().__init__()
        self.refusal = refusal


def size_in(codec: str) -> Callable[[str], int]:
    """Return a function that counts the bytes of a text in `codec`."""
    if codec == "utf-8":
        return lambda text: len(text) if text.isascii() else len(text.encode())
    if codec.startswith("utf-16"):
        return lambda text: 2 * len(text) if text.isascii() else len(text.encode(codec))
    return len


def lines(file: BinaryIO, codec: str, offset: int) -> Iterator[list[str]]:
    """Yield the lines from the byte `offset` on with their ends (CRLF, LF or CR), some at a time.

    A line longer than a row may be comes in pieces; each but the last is longer than that, and has no end.
    Raises Unreadable, after all that stands before it, for a byte that is not of the encoding, and for a NUL.
    """
    file.seek(offset)
    decoder = codecs.getincrementaldecoder(codec)("strict")
    rest = ""
    stop: Unreadable | None = None
    block = b"first"
    while block and not stop:
        block = file.read(_BLOCK)
        offset += len(block)
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as bad:  # its object is the block, after what was left of the one before
            text = bytes(bad.object[: bad.start]).decode(codec)
            byte = offset - len(bad.object) + bad.start
            stop = Unreadable(partial(FileEncoding, byte=byte, encoding=encodings.shown(codec)))
        if "\0" in text:
            text, stop = text[: text.index("\0")], Unreadable(nul)
        found = io.StringIO(rest + text, newline="").readlines()  # ends at CR, LF and CRLF alone, unlike splitlines
        more = block and not stop
        ends = "\n" if more else ("\n", "\r")  # while more may come, LF may follow a CR
        whole = not found or found[-1].endswith(ends) or not (block or stop)
        rest = "" if whole else found.pop()
        if more and len(rest) > MAX_ROW_BYTES and not rest.endswith("\r"):
            found.append(rest)
            rest = ""
        if found:
            yield found
    if stop:
        raise stop
