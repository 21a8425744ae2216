"""`flask jobs work`, which a server starts: it does the jobs that are due. See `users/bulk/children.py`."""

import os
import signal
import threading
import time

import click
from flask.cli import with_appcontext

from users.bulk import runner
from users.cli.bulk.garbage import collected_rarely
from users.cli.command import Command

END_SECONDS = 8.0  # for the step in hand. A server that stops waits no longer, and a job may be taken up by others


class WorkCommand(Command):
    """A command that a server starts, whose database is there."""

    makes_tables = False


@click.group("jobs", hidden=True)
def jobs_group() -> None:
    """Work that a server does beside its requests."""


@jobs_group.command("work", cls=WorkCommand, hidden=True)
@click.argument("kind")
@with_appcontext
def work_command(kind: str) -> None:
    """Do the jobs of this KIND that are due, until none is.

    It stops after the step in hand at SIGTERM, and when standard input ends: the server that holds its other end has
    ended then.
    """
    stopping = threading.Event()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    for watch in (_wait_for_the_server, _end_in_time):
        threading.Thread(target=watch, args=(stopping,), daemon=True).start()
    with collected_rarely():
        runner.work_here(kind, should_stop=stopping.is_set)


def _wait_for_the_server(stopping: threading.Event) -> None:
    while os.read(0, 4096):  # not sys.stdin, whose lock a thread must not hold at the end of Python
        pass
    stopping.set()


def _end_in_time(stopping: threading.Event) -> None:
    stopping.wait()
    time.sleep(END_SECONDS)
    os._exit(1)  # the lease ends by itself, and the step is rolled back
