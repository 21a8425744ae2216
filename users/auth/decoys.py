"""Which make of hash is tried for an email without a password here, while users have hashes that another system made.

A hash of bcrypt or PBKDF2 takes another time than one of our own. If an unknown email cost only our own, a stranger
could tell it from a user by time. So each email without a password is given one of the makes that users have, always
the same one, chosen as if the email were drawn from the users.
"""

import contextlib
import hmac
import math
import re
from collections import Counter
from collections.abc import Mapping

from flask import current_app
from sqlalchemy import func, select

from users import settings
from users.errors import Unavailable
from users.storage import database
from users.storage.deadlines import at_most
from users.storage.models import User
from users.storage.models.segments import Status, segments

_OURS = ""  # in place of the make of a hash of our own
_MOST_MAKES = 64  # each costs some 3 µs in each sign-in
_MAKE = re.compile(r"(.+?)-([0-9][0-9x-]*)")  # the algorithm, and the numbers of its cost
_SECONDS = 20.0  # for a count beside the requests
_SECONDS_IN_A_REQUEST = 0.5
_KEPT = "enrol.password_makes"
_WITH_PASSWORD = User.segment.in_(segments((Status.ACTIVE, Status.DEACTIVATED), has_password=True))


def make_for(email: str) -> str | None:
    """Return the make to try for `email` if it has no password here; None stands for a hash of our own.

    It stays the same while the shares of the makes do; where these change, it changes for as few emails as possible
    (weighted rendezvous hashing).
    """
    makes: Mapping[str, int] | None = current_app.extensions.get(_KEPT)
    if makes is None:  # the first sign-in of this process
        with at_most(_SECONDS_IN_A_REQUEST):
            makes = _refresh()
    if not makes:
        return None
    key = settings.current().secret_key.encode()

    def waits(make: str) -> float:
        digest = hmac.digest(key, f"decoy of {make} for {email}".encode("utf-8", "surrogatepass"), "sha256")
        drawn = (int.from_bytes(digest[:8], "big") + 1) / 2**64  # more than 0, at most 1
        return -math.log(drawn) / makes[make]

    return min(makes, key=waits) or None


def refresh() -> None:
    """Count the makes anew, for `make_for`. Where the database cannot count them, the count before stays."""
    with at_most(_SECONDS):
        _refresh()


def count() -> dict[str, int]:
    """Return how many users have a hash of each make that is not ours, the most frequent make first.

    Raises Unavailable.
    """
    number = func.count()
    made_elsewhere = select(User.password_make, number).where(User.password_make.is_not(None), _WITH_PASSWORD)
    with database.reading() as session:
        found = session.execute(made_elsewhere.group_by(User.password_make)).all()
    return dict(sorted(((str(make), many) for make, many in found), key=lambda one: (-one[1], one[0])))


def _refresh() -> Mapping[str, int]:
    with contextlib.suppress(Unavailable):
        current_app.extensions[_KEPT] = _with_ours(count())
    makes: Mapping[str, int] = current_app.extensions.setdefault(_KEPT, {})
    return makes


def _with_ours(makes: dict[str, int]) -> Mapping[str, int]:
    if not makes:
        return makes
    with database.reading() as session:
        all_users = session.scalar(select(func.count()).select_from(User).where(_WITH_PASSWORD)) or 0
    ours = all_users - sum(makes.values())
    few = _merge(makes)
    return {_OURS: ours, **few} if ours > 0 else few


def _merge(makes: Mapping[str, int]) -> Mapping[str, int]:
    """Return at most _MOST_MAKES, each with the number of users of all makes of about its cost.

    Some versions of passlib gave each hash a number of iterations of its own. If only the most frequent makes had
    decoys, a user with another one could be told by time.
    """
    costs = {make: _cost(make) for make in makes}
    merged, apart = makes, 0.005
    while len(merged) > _MOST_MAKES and apart < math.log(1_000_000):
        first: dict[tuple[str, int], str] = {}  # of those that cost about the same, the most frequent one
        found = Counter[str]()
        for make, many in makes.items():
            algorithm, cost = costs[make]
            found[first.setdefault((algorithm, round(cost / apart)), make)] += many
        merged, apart = found, 2 * apart
    return dict(list(merged.items())[:_MOST_MAKES])


def _cost(make: str) -> tuple[str, float]:
    """Return the algorithm of a make, and the logarithm of its cost."""
    parts = _MAKE.fullmatch(make)
    if parts is None:  # a newer version has written it
        return make, 0.0
    algorithm, numbers = parts[1], [max(1, int(number)) for number in re.findall("[0-9]+", parts[2])]
    if algorithm == "bcrypt":
        return algorithm, numbers[0] * math.log(2)
    if algorithm.startswith("argon2"):  # memory is that of all lanes together
        algorithm, numbers = f"{algorithm} {numbers[2:]}", numbers[:2]
    return algorithm, math.log(math.prod(numbers))
