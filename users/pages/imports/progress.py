"""How far an import is, in words and numbers, and what its states are called."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from users.storage.models import Import

ENDED = frozenset({"finished", "cancelled", "failed", "expired"})

_SOONEST = 2  # seconds of work before a rate says anything
_STATES: dict[str, str] = {
    "checking": "Reading",
    "columns": "Columns to explain",
    "checked": "Ready to import",
    "waiting": "About to begin",
    "running": "Importing",
    "finished": "Done",
    "failed": "Stopped",
    "expired": "Expired",
}


@dataclass(frozen=True)
class Progress:
    """How far an import is. `percent` is None before anything is known."""

    percent: int | None
    words: str  # the counts, and the speed and the time left when they are known
    step: str  # what is announced: it changes ten times in the whole


def of(job: Import, now: datetime) -> Progress:
    """Return how far the import is that is being read or imported."""
    if job.state == "checking":
        return _reading(job)
    done, total = job.rows_done, job.rows_total or 0
    percent = 100 * done // total if total else 0
    counts = [f"{done:,} of {total:,} rows", f"{job.created:,} created"]
    counts += [f"{job.existing:,} skipped"] if job.existing else []
    counts += [f"{job.rejected:,} not imported"] if job.rejected else []
    words = " · ".join([*counts, *_speed(job, now)])
    return Progress(percent, words, f"{percent // 10 * 10}% imported")


def name(job: Import) -> str:
    """Return the name of the import's file, for people."""
    return job.name or "pasted rows"


def state(job: Import) -> str:
    """Return what the import's state is called."""
    if job.state == "cancelled":
        return "Cancelled" if job.started_at else "Discarded"
    return _STATES.get(job.state, job.state)


def rows(number: int, words: str = "") -> str:
    """Return a number of rows in words."""
    return f"{number:,} {words}{'row' if number == 1 else 'rows'}"


def users(number: int) -> str:
    """Return a number of users in words."""
    return f"{number:,} {'user' if number == 1 else 'users'}"


def duration(seconds: float) -> str:
    """Return a time to wait, roughly."""
    if seconds < 5:
        return "a few seconds"
    if seconds < 90:
        return f"about {max(10, round(seconds / 10) * 10)} seconds"
    if seconds < 5400:
        return f"about {round(seconds / 60)} minutes"
    return f"about {round(seconds / 3600)} hours"


def _reading(job: Import) -> Progress:
    percent = min(99, 100 * job.byte_offset // job.bytes) if job.bytes and job.byte_offset else None
    words = f"{rows(job.rows_done)} read" if job.rows_done else "The file is being read"
    return Progress(percent, words, f"{(percent or 0) // 10 * 10}% read")


def _speed(job: Import, now: datetime) -> list[str]:
    seconds = (now - job.started_at).total_seconds() if job.started_at else 0
    if seconds < _SOONEST or not job.rows_done:
        return []
    rate = job.rows_done / seconds
    left = ((job.rows_total or 0) - job.rows_done) / rate
    return [f"{max(1, round(rate)):,} a second", f"{duration(left)} left"]


WORDS: dict[str, Callable[..., str]] = {"rows_in_words": rows, "users_in_words": users}
