"""The segment of a user: one number for status, verified email and password, by which the list's indexes begin.

A list that is filtered by these three is a union of at most twelve ranges of an index, each in the order of the list.
A trigger of the database keeps the number in the column `segment`, whoever writes the row: see migration 0011. A new
user of the API has the highest, so that new users go to the end of an index.
"""

from collections.abc import Iterable, Sequence
from enum import IntEnum


class Status(IntEnum):
    """The status of a user."""

    DELETED = 0
    DEACTIVATED = 1
    ACTIVE = 2


def segments(
    statuses: Iterable[Status] = Status, *, verified: bool | None = None, has_password: bool | None = None
) -> Sequence[int]:
    """Return the segments of these statuses, highest first; None leaves open whether users are verified and so on."""
    return sorted(
        (
            4 * status + 2 * unverified + with_password
            for status in statuses
            for unverified in (False, True)
            for with_password in (False, True)
            if verified in (None, not unverified) and has_password in (None, with_password)
        ),
        reverse=True,
    )


def status_of(segment: int) -> Status:
    """Return the status of the users of this segment."""
    return Status(segment // 4)
