"""The file that a command imports: a file of the disk where it is, or standard input, which goes to the spool first."""

import contextlib
import hashlib
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click

from users import ids, settings
from users.bulk.imports import running, spool
from users.bulk.imports.at_terminal import Source
from users.bulk.imports.errors import FileTooLarge

_CHUNK = 1024 * 1024
STANDARD_INPUT = "-"


@contextlib.contextmanager
def opened(file: str) -> Iterator[Source]:
    """Yield the file with its digest. What was spooled is removed at the end: to go on takes the same input again.

    Raises ClickException for a file that cannot be read, FileTooLarge and SpoolUnavailable.
    """
    import_id, most = ids.new_id("imp"), settings.current().import_max_bytes
    if found := _on_disk(import_id, file):
        yield found
        return
    with _stream(file) as stream, spool.receiving(import_id, stream, most=most) as kept:
        yield Source(import_id, spool.path(import_id, spool.FILE), None, kept.sha256, kept.bytes, None)


def _on_disk(import_id: str, file: str) -> Source | None:
    """Return the file if it is one that can be read twice: no standard input, no pipe."""
    try:
        if file == STANDARD_INPUT or not stat.S_ISREG(os.stat(file).st_mode):
            return None
        with open(file, "rb") as stream:
            version = running.version_of(stream)
            return Source(import_id, Path(file).absolute(), Path(file).name, *_digest(stream), version)
    except OSError as error:
        raise click.ClickException(f"{file} cannot be read ({error.strerror}).") from None


def _digest(stream: BinaryIO) -> tuple[str, int]:
    """Return the SHA-256 and the size of a file. Raises FileTooLarge."""
    digest, size, most = hashlib.sha256(), 0, settings.current().import_max_bytes
    while chunk := stream.read(_CHUNK):
        size += len(chunk)
        if size > most:
            raise FileTooLarge(most)
        digest.update(chunk)
    return digest.hexdigest(), size


@contextlib.contextmanager
def _stream(file: str) -> Iterator[BinaryIO]:
    if file != STANDARD_INPUT:
        with open(file, "rb") as stream:
            yield stream
    elif sys.stdin is None:
        raise click.UsageError("Standard input is closed; there is no file to read.")
    else:
        yield sys.stdin.buffer
