"""The log of a production server, where every line is JSON: Granian's lines, sentences, warnings and errors too."""

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Iterator
from types import TracebackType

from users import logs
from users.logs.handlers import AsyncHandler, StderrHandler
from users.logs.lines import LineFormatter


def granian_handler() -> logging.Handler:
    """Return the handler of Granian's own lines. `granian.json` names it, and Granian asks in each of its processes.

    A log that nothing reads stops neither Granian's main process nor its workers. From then on, an error that ends the
    main process, such as a port in use, is a line too.
    """
    handler = StderrHandler()
    if _is_text():
        handler.setFormatter(logging.Formatter("[%(levelname)s] %(message)s"))  # Granian's default
    else:
        handler.setFormatter(LineFormatter("json"))
        sys.excepthook = _log_error_of_granian
    return AsyncHandler(handler)


@contextlib.contextmanager
def json_lines() -> Iterator[None]:
    """Make a line of the log of all that this process says from now on, and of an error that ends the start.

    With ENROL_LOG_FORMAT=text nothing changes: people read sentences and warnings as they are.
    """
    if _is_text():
        yield
        return
    logs.configure("json")
    logging.getLogger().handlers = list(logging.getLogger("enrol").handlers)
    logging.captureWarnings(True)
    threading.excepthook = lambda given: _log_error(given.exc_value)
    sys.unraisablehook = lambda given: _log_error(given.exc_value)
    try:
        yield
    except SystemExit as end:
        logs.say(str(end.code), level=logging.ERROR)
        sys.exit(1)
    except Exception as error:
        logs.unexpected(error)
        sys.exit(1)


def _is_text() -> bool:
    return os.environ.get("ENROL_LOG_FORMAT") == "text"  # read before the settings, which may be what is wrong


def _log_error(error: BaseException | None) -> None:
    if error and not isinstance(error, SystemExit):
        logs.unexpected(error)


def _log_error_of_granian(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    """Log the first line of the error's text, which is Granian's own: its main process holds no data of users."""
    logging.getLogger("_granian").critical("%s", str(error).partition("\n")[0], exc_info=error)
