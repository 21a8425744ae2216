"""Run a command under a system call filter of systemd, less another: `syscall_filter.py @system-service "" COMMAND …`.

systemd sets the filter of a unit by seccomp (systemd.exec(5), SystemCallFilter), which needs no booted systemd. Here a
call that the filter lacks kills the process, so that none goes unseen.
"""

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator

KILL_PROCESS, ALLOW = 0x80000000, 0x7FFF0000  # seccomp(2)


def calls_of(group: str) -> Iterator[str]:
    """Yield the names of the calls in a group of systemd, and in the groups that it holds."""
    line = ["systemd-analyze", "syscall-filter", "--no-pager", group]
    for entry in subprocess.run(line, check=True, capture_output=True, text=True).stdout.split("\n")[1:]:
        name = entry.strip()
        if name.startswith("@"):
            yield from calls_of(name)
        elif name and not name.startswith("#"):
            yield name


def restrict_to(names: set[str]) -> None:
    """Allow this process and those that it starts these calls alone, for good."""
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(KILL_PROCESS)))
    for name in sorted(names):
        number = library.seccomp_syscall_resolve_name(name.encode())
        library.seccomp_rule_add(context, ctypes.c_uint32(ALLOW), number, 0)  # fails if this machine has no such call
    if library.seccomp_load(context):  # with "no new privileges", which is its default
        raise OSError("the filter cannot be loaded")


if __name__ == "__main__":
    _, group, without, *command = sys.argv
    restrict_to(set(calls_of(group)) - set(calls_of(without) if without else ()))
    os.execv(command[0], command)  # noqa: S606  (the command of the test)
