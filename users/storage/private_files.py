"""Opens files that only their owner may read: the database, its copies, and exports of the audit trail."""

import os


def open_private(path: str, flags: int) -> int:
    """Open a file with mode 0600: the `opener` for `open`."""
    return os.open(path, flags, 0o600)
