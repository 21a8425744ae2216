"""The secret key: which text may be one, and the file that keeps the key which the first start makes."""

import os
import re
import secrets
import tempfile
from pathlib import Path

MIN_LENGTH = 32
# Keys from tutorials and templates: all readers of those could sign with them.
_WELL_KNOWN = re.compile(
    r"change.?me|django-insecure|do.?not.?use|dummy|example|insecure|placeholder|replace|super.?secret|your.?secret"
    r"|192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
    re.IGNORECASE,
)


def is_strong(key: str) -> bool:
    """Tell whether `key` is long enough, and neither uniform nor well known."""
    return len(key) >= MIN_LENGTH and len(set(key)) >= 10 and not _WELL_KNOWN.search(key)


def read_or_make(path: Path) -> str:
    """Return the key in the file; if there is no file, make it with a new key and mode 0600.

    The key is written to a temporary file and linked into place. Of several processes that start at once, one link
    succeeds; the others read that key. Raises OSError, and ValueError if the file holds no strong key.
    """
    if not path.exists():
        _make(path)
    key = path.read_text(encoding="ascii").strip()
    if not is_strong(key):
        raise ValueError
    return key


def _make(path: Path) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)  # mode 0600
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(MIN_LENGTH))
        file.flush()
        os.fsync(descriptor)
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(temporary)
