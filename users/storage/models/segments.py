"""The segment of a user: one number for status, verified email and password, by which the list's indexes begin.

A list that is filtered by these three is a union of at most twelve ranges of an index, each in the order of the list.
A trigger of the database keeps the number in the column `segment`, whoever writes the row: see migration 0011. A new
user of the API has the highest, so that new users go to the end of an index.
"""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from itertools import product


class Status(IntEnum):
    """The status of a user."""

    DELETED = 0
    DEACTIVATED = 1
    ACTIVE = 2


def segment_of(status: Status, *, verified: bool, has_password: bool) -> int:
    """Return the segment of a user."""
    return 4 * status + 2 * (not verified) + has_password


def segments(
    statuses: Iterable[Status] = Status, *, verified: bool | None = None, has_password: bool | None = None
) -> Sequence[int]:
    """Return the segments of these statuses, highest first; None leaves open whether users are verified and so on."""
    each = product(statuses, _possible(verified), _possible(has_password))
    return sorted(
        (segment_of(one, verified=is_verified, has_password=has) for one, is_verified, has in each), reverse=True
    )


def _possible(wanted: bool | None) -> Sequence[bool]:
    return (False, True) if wanted is None else (wanted,)


def status_of(segment: int) -> Status:
    """Return the status of the users of this segment."""
    return Status(segment // 4)
