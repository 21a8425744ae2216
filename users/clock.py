"""The time, in one place, so that a test can move it."""

import time
from datetime import UTC, datetime, timedelta

RECENT = timedelta(minutes=10)  # how long what was just made counts as just made


def now() -> datetime:
    """Return the present as an aware UTC datetime, with microseconds."""
    return datetime.now(UTC)


def steady() -> float:
    """Return seconds that only ever go forward, whatever is done to the machine's clock; from where is not said."""
    return time.monotonic()


def rfc3339(moment: datetime) -> str:
    """Return `moment` as RFC 3339 in UTC and whole seconds: `2025-11-15T10:30:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def day(moment: datetime) -> str:
    """Return the day of `moment`, in UTC, as people read it: `23 Nov 2026`."""
    return f"{moment.astimezone(UTC):%-d %b %Y}"


def words(moment: datetime) -> str:
    """Return `moment` as people read it: `23 Nov 2026, 19:23 UTC`."""
    return f"{day(moment)}, {moment.astimezone(UTC):%H:%M} UTC"
