"""What a list of users is asked for, and by which indexes it can be answered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any

from users import ids
from users.rules import search_keys
from users.storage.models import Status, segments

SHOWN = {
    "all": (Status.ACTIVE, Status.DEACTIVATED),
    "active": (Status.ACTIVE,),
    "deactivated": (Status.DEACTIVATED,),
    "deleted": (Status.DELETED,),
}
# The days that ids can tell.
_FIRST_DAY, _LAST_DAY = date(1970, 1, 2), date(9999, 12, 30)
_LATER = timedelta(seconds=10)  # more than lies between the id of a user and their creation


class Sort(StrEnum):
    """The orders of a list; equal names and emails are in the order of the ids."""

    NEWEST = "-created"
    OLDEST = "created"
    EMAIL = "email"
    EMAIL_DOWN = "-email"
    NAME = "name"
    NAME_DOWN = "-name"

    @property
    def key(self) -> str:
        """Return the name of the column of User by which the list is sorted."""
        return {"created": "id", "email": "search_email", "name": "search_name"}[self.removeprefix("-")]

    @property
    def is_down(self) -> bool:
        """Tell whether the highest comes first."""
        return self.startswith("-")


@dataclass(frozen=True)
class Asked:
    """What a list of users is asked for."""

    text: str = ""  # a whole id or the beginning of an email, a domain, a name or a last name
    shown: str = "all"  # one of SHOWN
    verified: bool | None = None
    has_password: bool | None = None
    role: str | None = None
    never_signed_in: bool = False
    since: date | None = None  # created on this day in UTC or later
    until: date | None = None  # created on this day in UTC or earlier
    sort: Sort = Sort.NEWEST
    search_key: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Make the key of the text."""
        object.__setattr__(self, "search_key", search_keys.query_key(self.text))

    @property
    def has_dates(self) -> bool:
        """Tell whether the list has a first or a last day."""
        return self.since is not None or self.until is not None

    @property
    def is_exact(self) -> bool:
        """Tell whether an index has the whole list in its order."""
        has_index = self.sort.key == "id" or not (self.role or self.has_dates)
        return has_index and not (self.search_key or self.never_signed_in)

    def segments(self, *statuses: Status) -> Sequence[int]:
        """Return the segments of users of these statuses who are verified and have a password as asked for."""
        return segments(statuses, verified=self.verified, has_password=self.has_password)

    def values(self) -> Mapping[str, Any]:
        """Return the values of all parameters but those of segments and places."""
        given: dict[str, Any] = {"role": self.role} if self.role else {}
        if self.search_key:
            given |= {"key": self.search_key, "above": search_keys.upper_bound(self.search_key)}
            if parents_key := search_keys.parents_key(self.search_key):
                given |= {"parents": parents_key, "above_parents": search_keys.upper_bound(parents_key)}
        if self.has_dates:
            start = datetime.combine(max(self.since or _FIRST_DAY, _FIRST_DAY), time.min, UTC)
            end = datetime.combine(min(self.until or _LAST_DAY, _LAST_DAY), time.max, UTC)
            given |= {"since": start, "until": end}
            moments = {"first_id": start - _LATER, "inner_first_id": start + _LATER}
            moments |= {"inner_last_id": end - _LATER, "last_id": end + _LATER}
            given |= {name: ids.first("usr", moment) for name, moment in moments.items()}
        return given
