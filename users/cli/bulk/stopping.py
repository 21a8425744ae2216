"""Ctrl-C and SIGTERM, which end an import after the batch in hand."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

EXIT_STOPPED = 130


class Stopping:
    """Tells whether the command was asked to stop."""

    def __init__(self) -> None:
        self._asked = False

    def __call__(self) -> bool:
        """Tell whether a signal has come."""
        return self._asked

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Notice the signals meanwhile. A second one does what it always does: it ends the process at once."""
        if threading.current_thread() is not threading.main_thread():  # only that one gets signals
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def notice(_number: int, _frame: FrameType | None) -> None:
            self._asked = True
            restore()

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        for number in before:
            signal.signal(number, notice)
        try:
            yield
        finally:
            restore()
