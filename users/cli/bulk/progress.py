"""The progress of an import on stderr: one line that changes on a terminal, elsewhere a line for each tenth."""

import contextlib
import sys

from users import clock

_EVERY_SECONDS = 0.5
_TENTHS = 10
_CLEAR = "\r\x1b[K"


class Progress:
    """Shows how far a command is, from row `start` on."""

    def __init__(self, start: int = 0) -> None:
        self._on_terminal = sys.stderr is not None and sys.stderr.isatty()
        self._began = clock.monotonic()
        self._shown_at = 0.0
        self._start = start
        self._tenth: int | None = None

    def show_read(self, rows: int, share: float) -> None:
        """Show, on a terminal only, how much of the file was read."""
        self.show_line(f"Reading: {rows:,} rows · {share:.0%}")

    def show_line(self, line: str) -> None:
        """Show words, on a terminal only."""
        if self._on_terminal and self._is_time():
            _write(_CLEAR + line)

    def show(self, done: int, total: int, *, created: int, existing: int, rejected: int) -> None:
        """Show how many rows are done, and what became of them."""
        rate = (done - self._start) / max(clock.monotonic() - self._began, 0.001)
        left = duration((total - done) / rate) if rate else "…"
        there = f" · {existing:,} there already" if existing else ""
        line = f"{done:,} of {total:,} rows · {rate:,.0f}/s · {left} left · {created:,} created{there}"
        line += f" · {rejected:,} rejected"
        self.show_line(line)
        if not self._on_terminal and self._is_new_tenth(done, total):
            _write(f"{line}\n")

    def clear(self) -> None:
        """Take the line away, for other words."""
        if self._on_terminal:
            _write(_CLEAR)
            self._shown_at = 0.0

    def _is_time(self) -> bool:
        now = clock.monotonic()
        if now - self._shown_at < _EVERY_SECONDS:
            return False
        self._shown_at = now
        return True

    def _is_new_tenth(self, done: int, total: int) -> bool:
        tenth = done * _TENTHS // max(total, 1)
        is_new = tenth != self._tenth and self._tenth is not None
        if self._tenth is None:
            is_new = tenth > self._start * _TENTHS // max(total, 1)
        self._tenth = tenth
        return is_new


def duration(seconds: float) -> str:
    """Return a time for people: `50 s`, `3 min`, `2 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def _write(text: str) -> None:
    """Write to stderr. One that is full or closed stops nothing."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(text)
        sys.stderr.flush()
