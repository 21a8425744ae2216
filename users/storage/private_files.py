"""Files that only their owner may read: the database, its copies, exports of the audit trail, files of imports."""

import os
from pathlib import Path


def open_private(path: str, flags: int) -> int:
    """Open a file with mode 0600: the `opener` for `open`."""
    return os.open(path, flags, 0o600)


def sync_folder(folder: Path) -> None:
    """Force the names of the files in a folder to disk: `os.fsync` of a new file does not do that. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
