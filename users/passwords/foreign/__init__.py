"""Password hashes that other systems made: judged when they are imported, and checked at a sign-in.

A hash is kept if its text is whole, it is not too weak to keep, and to check it takes at most a second and 128 MiB.
"""

from users.passwords.foreign.judging import decoy, forms, judge, matches
from users.passwords.foreign.kept import ForeignHash, NotKept

__all__ = ["ForeignHash", "NotKept", "decoy", "forms", "judge", "matches"]
