"""The file of the rows that an import refuses, which goes on at a checkpoint after a crash."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from users.bulk.files.layout import Layout
from users.bulk.files.reading import ReadRow
from users.bulk.files.writing import RejectsWriter
from users.bulk.rows import BadRow
from users.storage.models import Import
from users.storage.private_files import sync_folder

_PIECE = 64 * 1024


class RejectsLost(OSError):
    """The file is shorter than at the last checkpoint, or gone."""

    def __init__(self, path: Path) -> None:
        super().__init__(errno.EIO, "the file of the rejected rows has lost some of them", str(path))


class RejectsFile:
    """Writes refused rows to `path`, of which the first `size` bytes are kept. Raises OSError, for example RejectsLost.

    With `without_secrets`, cells of passwords and hashes are empty: the server keeps such a file for a week.
    """

    def __init__(self, path: Path, layout: Layout, *, size: int = 0, without_secrets: bool = True) -> None:
        self._file = _open(path, size)
        try:
            self._file.truncate(size)
            self._file.seek(size)
            self._writer = RejectsWriter(self._file, layout, without_secrets=without_secrets)
            if not size:
                self._writer.begin()
                with contextlib.suppress(PermissionError):  # the user may write to the folder, and not list it
                    sync_folder(path.parent)
        except BaseException:
            self._file.close()
            raise

    def write(self, row: ReadRow, bad: BadRow) -> None:
        """Add a row, as it stood in the file, with its errors."""
        self._writer.write(row, bad)

    def sync(self) -> int:
        """Return the size of the file once it is on disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._file.close()


def _open(path: Path, size: int) -> BinaryIO:
    """Open a file that has `size` bytes or more; one that may have none is made where it is not there."""
    # No link: in a shared folder another user may have put one there since the name was looked up.
    flags = os.O_RDWR | os.O_NOFOLLOW | (0 if size else os.O_CREAT)
    try:
        file = open(os.open(path, flags, 0o600), "r+b")  # noqa: SIM115
    except FileNotFoundError:
        if size:
            raise RejectsLost(path) from None
        raise
    if os.fstat(file.fileno()).st_size < size:
        file.close()
        raise RejectsLost(path)
    return file


def size_of(job: Import, path: Path) -> int:
    """Return how many bytes of the file are of rows that have their fate. Raises OSError.

    Behind them may stand those of a batch that has not ended, or was rolled back by a cancellation or a crash.
    """
    return path.stat().st_size if job.started_at is None else job.rejects_bytes


def pieces(path: Path, size: int) -> Iterator[bytes]:
    """Yield the first `size` bytes of a file."""
    with path.open("rb") as file:
        while size and (piece := file.read(min(size, _PIECE))):
            size -= len(piece)
            yield piece
