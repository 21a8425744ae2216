"""What a check of `flask doctor` found."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is. FAILED alone makes the command fail."""

    OK = "ok"
    WARNING = "warn"
    FAILED = "FAIL"


@dataclass(frozen=True)
class Finding:
    """The result of one check: `words` say what was found or, if it is not ok, what to do."""

    subject: str
    level: Level
    words: str


def ok(subject: str, words: str) -> Finding:
    """Return the result of a check that found nothing wrong."""
    return Finding(subject, Level.OK, words)


def warning(subject: str, words: str) -> Finding:
    """Return the result of a check that found something to look at; the installation works."""
    return Finding(subject, Level.WARNING, words)


def failed(subject: str, words: str) -> Finding:
    """Return the result of a check that found something to mend."""
    return Finding(subject, Level.FAILED, words)
