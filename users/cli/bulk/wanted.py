"""What the operator wants of `flask users import`."""

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from users import clock
from users.bulk.options import Options


@dataclass(frozen=True)
class Wanted:
    """The arguments of the command."""

    file: str
    options: Options
    rejects: Path | None
    is_dry: bool
    yes: bool
    restart: bool
    as_json: bool
    began: float = field(default_factory=clock.monotonic)

    def command(self, **changes: bool) -> str:
        """Return the command as it can be pasted, with some flags given and others not."""
        options = self.options
        flags = {
            "--dry-run": self.is_dry,
            "--skip-existing": options.skip_existing,
            "--no-password": options.no_password,
            "--keep-ids": options.keep_ids,
            "--yes": self.yes,
            "--json": self.as_json,
        } | {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
        words = [flag for flag, is_given in flags.items() if is_given]
        words += [word for header, column in options.mapped.items() for word in ("--map", f"{header}={column}")]
        words += [word for header in options.ignored for word in ("--ignore", header)]
        words += ["--rejects", str(self.rejects)] if self.rejects else []
        words += ["--encoding", options.encoding] if options.encoding else []
        return f"flask users import {shlex.join([self.file, *words])}"
