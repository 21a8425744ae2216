"""The encoding of a file: told by its byte order mark, by name, or UTF-8. It is never guessed."""

import codecs

from users.bulk.files.refusals import UnknownEncoding

NAMES = ("utf-8", "utf-16-le", "utf-16-be", "windows-1252", "iso-8859-15")  # as people name them
_CODECS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "utf-16": "utf-8",  # its byte order mark decides; without one there is nothing to decide by
    "utf-16le": "utf-16-le",
    "utf-16-le": "utf-16-le",
    "utf-16be": "utf-16-be",
    "utf-16-be": "utf-16-be",
    "windows-1252": "cp1252",
    "cp1252": "cp1252",
    "iso-8859-15": "iso8859-15",
    "latin-9": "iso8859-15",
}
_SHOWN = {"cp1252": "windows-1252", "iso8859-15": "ISO-8859-15"}
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def codec_of(name: str) -> str:
    """Return the Python codec of the encoding that people call `name`. Raises UnknownEncoding."""
    found = _CODECS.get(name.strip().lower().replace("_", "-"))
    if found is None:
        raise UnknownEncoding(NAMES)
    return found


def detect(beginning: bytes, named: str | None) -> tuple[str, int]:
    """Return the codec of a file and the length of its byte order mark, which decides over the name."""
    codec = codec_of(named) if named else "utf-8"
    return next(((marked, len(mark)) for mark, marked in _MARKS if beginning.startswith(mark)), (codec, 0))


def mark_of(codec: str) -> bytes:
    """Return the byte order mark of `codec`, one of the Unicode ones."""
    return next(mark for mark, marked in _MARKS if marked == codec)


def shown(codec: str) -> str:
    """Return the name of `codec` for people."""
    return _SHOWN.get(codec, codec.upper())
