"""The time, in one place, so that a test can move it."""

from datetime import UTC, datetime


def now() -> datetime:
    """Return the present as an aware UTC datetime, with microseconds."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """Return `moment` as RFC 3339 in UTC and whole seconds: `2025-11-15T10:30:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
