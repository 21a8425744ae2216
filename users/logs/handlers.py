"""Where the lines of the log go: to stderr, at once or by a thread that no request waits for."""

import contextlib
import logging
import multiprocessing.util
import queue
import sys
import threading
import time

from users import forks

BUFFERED_LINES = 1000  # in each process, 1 to 2 MB, while nothing reads its stderr
# The log thread's pause after the last line in the buffer. Without it, the thread woke for each line and kept the
# interpreter from the requests for a tenth of the time.
PAUSE_SECONDS = 0.02
FLUSH_SECONDS = 1.0  # the longest time that the end of a process waits for its last lines


class StderrHandler(logging.Handler):
    """Writes to the present `sys.stderr`, which a supervisor or a test may have replaced since the start."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line. An error while writing stops nothing."""
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:
            with contextlib.suppress(Exception):  # stderr itself is closed
                self.handleError(record)


class AsyncHandler(logging.Handler):
    """Never blocks the caller: a thread writes the lines, and BUFFERED_LINES wait for it at most.

    When the buffer is full, lines are dropped, and a line before the next one says how many. A pipe that nothing reads
    blocks its writer for good. With `logging.handlers.QueueListener` the process would then never end: its `stop` joins
    the thread without a time-out, and its `handle` holds the lock that `logging.shutdown` waits for.
    """

    def __init__(self, writer: logging.Handler) -> None:
        super().__init__()
        self._writer = writer
        self._start()
        # A fork during a write would leave stderr's lock held in the child, for good: flush first.
        forks.register(self, before=AsyncHandler.flush, in_child=AsyncHandler._start)
        multiprocessing.util.register_after_fork(self, AsyncHandler._flush_at_exit)

    def _start(self) -> None:
        """Start a thread with an empty buffer, in a forked child too: the parent writes the parent's lines."""
        self._buffer: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
        self._buffered = self._written = self._dropped = 0
        threading.Thread(target=self._write, name="log", daemon=True).start()
        self._flush_at_exit()

    def _flush_at_exit(self) -> None:
        """Flush also at the end of a child of `multiprocessing`, which does not call `logging.shutdown`."""
        multiprocessing.util.Finalize(None, self.flush, exitpriority=0)

    def emit(self, record: logging.LogRecord) -> None:
        """Buffer the line. `handle` calls this in one thread at a time."""
        if self._buffer.qsize() >= BUFFERED_LINES:
            self._dropped += 1
            return
        self._report_dropped()
        self._put(record)

    def flush(self) -> None:
        """Wait until the buffered lines are written, for FLUSH_SECONDS at most."""
        self._report_dropped()
        limit = time.monotonic() + FLUSH_SECONDS
        while self._written < self._buffered and time.monotonic() < limit:
            time.sleep(PAUSE_SECONDS)

    def _report_dropped(self) -> None:
        if self._dropped:
            self._put(_dropped_lines(self._dropped))
            self._dropped = 0

    def _put(self, record: logging.LogRecord) -> None:
        self._buffered += 1
        self._buffer.put(record)

    def _write(self) -> None:
        while True:
            self._writer.emit(self._buffer.get())  # not `handle`: `logging.shutdown` would wait for its lock
            self._written += 1
            if self._buffer.empty():
                time.sleep(PAUSE_SECONDS)


def _dropped_lines(count: int) -> logging.LogRecord:
    fields = {"levelname": "WARNING", "msg": "log_lines_dropped", "fields": {"count": count}}
    return logging.makeLogRecord(fields)
