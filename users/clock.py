"""The time, in one place, so that tests can change it."""

import math
import time
from datetime import UTC, datetime, timedelta

RECENT = timedelta(minutes=10)  # how long an object counts as just made
MAY_DIFFER = timedelta(minutes=1)  # the clocks of two machines


def now() -> datetime:
    """Return the present time as an aware UTC datetime, with microseconds."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Return seconds that only go forward, also when the machine's clock is set back. The start is undefined."""
    return time.monotonic()


def whole_seconds(seconds: float) -> int:
    """Return `seconds` rounded up, without the rounding error of floats."""
    return math.ceil(round(seconds, 3))


def rfc3339(moment: datetime) -> str:
    """Return `moment` as RFC 3339 in UTC and whole seconds: `2025-11-15T10:30:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def date(moment: datetime) -> str:
    """Return the date of `moment` in UTC, for people: `23 Nov 2026`."""
    return f"{moment.astimezone(UTC):%-d %b %Y}"


def time_until(moment: datetime) -> str:
    """Return how long it is until `moment`, for people: `6 days`, `23 hours`, `1 minute`. Never less than a minute."""
    minutes = max(1, round((moment - now()).total_seconds() / 60))
    for unit, size in (("days", 24 * 60), ("hours", 60)):
        if minutes >= 2 * size:
            return f"{round(minutes / size)} {unit}"
    return "1 minute" if minutes == 1 else f"{minutes} minutes"


def date_and_time(moment: datetime) -> str:
    """Return `moment` for people: `23 Nov 2026, 19:23 UTC`."""
    return f"{date(moment)}, {moment.astimezone(UTC):%H:%M} UTC"
