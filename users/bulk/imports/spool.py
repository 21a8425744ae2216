"""The spool: a folder with the files of imports on their way in, each readable by Enrol's user alone.

`ID.file` is what was uploaded, `ID.rejects` the rows that were refused, `ID.duplicates` and `ID.preview` what the check
of the file found. All are removed some time after the end of the import: see `cleaning`.
"""

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Protocol

from users import ids, logs, settings
from users.bulk.imports.errors import FileTooLarge, SpoolUnavailable
from users.storage.private_files import open_private, sync_folder

FILE, PREVIEW, REJECTS = "file", "preview", "rejects"
_MACHINE = "machine"  # a file that names the folder: hosts that share the folder share the name
_CHUNK = 64 * 1024


class Stream(Protocol):
    """What brings a file: bytes, and none at its end."""

    def read(self, size: int, /) -> bytes | None: ...


def path(import_id: str, suffix: str) -> Path:
    """Return the path of a file of the spool, whose folder is made where it is not there. Raises OSError."""
    return _folder() / f"{import_id}.{suffix}"


def _folder() -> Path:
    folder = settings.current().spool_folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def machine() -> str:
    """Return the name of the spool folder, which all hosts that share it know. Raises OSError."""
    if known := known_machine():
        return known
    named = _folder() / _MACHINE
    made = named.with_name(f".{_MACHINE}-{secrets.token_hex(8)}")
    try:
        with open(made, "x", encoding="ascii", opener=open_private) as file:
            file.write(secrets.token_hex(16))
        with contextlib.suppress(FileExistsError):  # another process was faster
            os.link(made, named)
    finally:
        made.unlink(missing_ok=True)
    return named.read_text(encoding="ascii").strip()


def known_machine() -> str | None:
    """Return the name of the spool folder, None before it has one: no import has come here. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        return (settings.current().spool_folder / _MACHINE).read_text(encoding="ascii").strip()
    return None


@dataclass
class Upload:
    """A file that has arrived and is on disk. It is removed after the block unless `kept`."""

    sha256: str
    bytes: int
    kept: bool = False


@contextlib.contextmanager
def receiving(import_id: str, stream: Stream, *, most: int) -> Iterator[Upload]:
    """Write what `stream` brings to the spool, counted while it arrives, and yield when it is on disk.

    The file is locked until the end of the block: `cleaning` knows by it which files without an import still arrive.
    Raises FileTooLarge above `most` bytes, SpoolUnavailable when the disk is full or the folder cannot be written, and
    what the stream raises. No file stays after an error.
    """
    with _translate_errors():
        found = path(import_id, FILE)
        file = open(found, "xb", buffering=0, opener=open_private)  # noqa: SIM115  (closed below)
    upload = None
    try:
        _lock(file)
        upload = _write(file.fileno(), stream, most)
        with _translate_errors():
            os.fsync(file.fileno())
            sync_folder(found.parent)
        yield upload
    finally:
        if upload is None or not upload.kept:
            found.unlink(missing_ok=True)
        file.close()


def _write(descriptor: int, stream: Stream, most: int) -> Upload:
    digest, count = hashlib.sha256(), 0
    while piece := stream.read(_CHUNK):
        count += len(piece)
        if count > most:
            raise FileTooLarge(most)
        digest.update(piece)
        left = memoryview(piece)
        with _translate_errors():
            while left:
                left = left[os.write(descriptor, left) :]
    return Upload(digest.hexdigest(), count)


@contextlib.contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        cause = errno.errorcode.get(error.errno or 0, "unknown")
        logs.event("spool_unavailable", level=logging.ERROR, cause=cause)
        raise SpoolUnavailable(f"The folder for files to import cannot be written ({cause}).") from None


def remove_after_end(import_id: str) -> None:
    """Remove the files of an import but the rejects. What cannot be removed now, `cleaning` removes later."""
    with contextlib.suppress(OSError):
        for found in settings.current().spool_folder.glob(f"{import_id}.*"):
            if found.suffix != f".{REJECTS}":
                found.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(import_id: str) -> Iterator[None]:
    """Hold the lock of a file, so that `cleaning` leaves it alone while it has no import. Raises OSError."""
    with open(path(import_id, FILE), "ab", opener=open_private) as file:
        _lock(file)
        yield


def is_locked(found: Path) -> bool:
    """Tell whether a process that lives holds the lock of this file. Raises OSError."""
    with found.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _lock(file: IO[bytes]) -> None:
    with contextlib.suppress(OSError):  # a file system without locks: `cleaning` waits for a day there
        fcntl.flock(file, fcntl.LOCK_EX)


def files() -> list[Path]:
    """Return all files of imports in the spool. Raises OSError, FileNotFoundError where there never was one."""
    folder = settings.current().spool_folder
    return [found for found in folder.iterdir() if ids.is_import_id(found.stem) and found.is_file()]


def create(import_id: str, suffix: str) -> BinaryIO:
    """Open a file of the spool to write it anew. Raises OSError."""
    return open(path(import_id, suffix), "wb", opener=open_private)
