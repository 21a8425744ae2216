"""Password hashes that other systems made: judged when they are imported, and checked at a sign-in.

A hash is kept if its text is whole, it is not too weak to keep, and its cost is within the bounds of its algorithm.
`tests/bench/foreign_hashes.py` measures what the dearest of them cost.
"""

from users.passwords.foreign.judging import decoy, forms, judge, matches
from users.passwords.foreign.kept import ForeignHash, NotKept

__all__ = ["ForeignHash", "NotKept", "decoy", "forms", "judge", "matches"]
