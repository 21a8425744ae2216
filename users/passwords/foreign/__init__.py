"""Password hashes that other systems made: judged when they are imported, and checked at a sign-in.

A hash is kept if its text is whole, it is not too weak to keep, and its cost is within the bounds of its algorithm: a
password that is not in its normal form is tried in two forms, and both together take about a second at most.
`tests/bench/foreign_hashes.py` measures it.
"""

from users.passwords.foreign.judging import decoy, forms, judge, matches
from users.passwords.foreign.kept import ForeignHash, NotKept

__all__ = ["ForeignHash", "NotKept", "decoy", "forms", "judge", "matches"]
