"""What an import says of the rows that it refuses, and at its end."""

from dataclasses import dataclass, replace
from pathlib import Path

from users import clock
from users.bulk.rows import BadRow
from users.cli.bulk.plan import counted
from users.cli.bulk.progress import Progress
from users.cli.bulk.wanted import Wanted
from users.cli.output import print_json, say, write

SHOWN = 20  # refused rows on stderr, where they have no file
EXIT_REJECTED = 6
_ENDINGS = (".json", ".jsonl", ".ndjson", ".tsv", ".txt")


class Refusals:
    """Says the first refused rows on stderr: their numbers and what is wrong, never what is in them."""

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress = progress
        self._count = 0
        self._held: list[BadRow] = []

    def __call__(self, bad: BadRow) -> None:
        """Say one, or only count it."""
        self._count += 1
        if self._count <= SHOWN:
            self._clear()
            say(in_words(bad))

    def hold(self, bad: BadRow) -> None:
        """Count one, to be said later."""
        self._count += 1
        if self._count <= SHOWN:
            self._held.append(bad)

    def say_held(self) -> None:
        """Say those that were held."""
        for bad in self._held:
            say(in_words(bad))
        self.say_rest()

    def say_rest(self) -> None:
        """Say how many were only counted."""
        if self._count > SHOWN:
            self._clear()
            say(f"… and {counted(self._count - SHOWN, 'more row')}.")

    def _clear(self) -> None:
        if self._progress:
            self._progress.clear()


def in_words(bad: BadRow) -> str:
    """Return the errors of a row in one line."""
    return f"Row {bad.number:,}: {' · '.join(error.message for error in bad.errors)}"


@dataclass(frozen=True)
class Counts:
    """How many rows had which fate."""

    rows: int
    created: int
    existing: int
    rejected: int


@dataclass(frozen=True)
class Report:
    """The end of an import."""

    wanted: Wanted
    counts: Counts
    import_id: str | None  # None for a dry run

    def show(self) -> int:
        """Print the id, or all as JSON, and return the exit code."""
        counts, wanted = self.counts, self.wanted
        if wanted.as_json:
            print_json(
                {
                    "id": self.import_id,
                    "dry_run": wanted.is_dry,
                    "rows": counts.rows,
                    "created": counts.created,
                    "existing": counts.existing,
                    "rejected": counts.rejected,
                    "rejects": str(wanted.rejects) if wanted.rejects and counts.rejected else None,
                    "seconds": round(clock.monotonic() - wanted.began, 3),
                }
            )
        elif self.import_id:
            write(self.import_id)
        return EXIT_REJECTED if counts.rejected else 0


def what_to_mend(wanted: Wanted, rejected: int) -> str | None:
    """Return what to do with the rejected rows, None if there are none."""
    if not rejected:
        return None
    rows = counted(rejected, "rejected row")
    if not wanted.rejects:
        ending = Path(wanted.file).suffix  # they have the form of the file
        with_rejects = replace(wanted, rejects=Path(f"rejects{ending if ending in _ENDINGS else '.csv'}"))
        command = with_rejects.command(yes=False, dry_run=True, skip_existing=True)
        return f"For a file of the {rows}, to mend them in: {command}"
    again = replace(wanted, file=str(wanted.rejects), rejects=None).command(dry_run=False)
    return f"The {rows} and what is wrong with them are in {wanted.rejects}. Mend them there, then: {again}"
