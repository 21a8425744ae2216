"""How many cores this process may use, in a container too."""

import contextlib
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

OWN_GROUP, GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")  # cgroups(7)


def usable() -> int:
    """Return how many cores this process may use, at least 1: a container may have half a core of 64."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min([cores, *_quotas()])


def _quotas() -> Iterator[int]:
    """Yield the limit, rounded up, of each control group around this process (cgroup v2, "cpu.max")."""
    try:
        own = next(line[3:] for line in OWN_GROUP.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return
    group = Path(own.strip("/"), "cpu.max")
    for folder in group.parents:
        with contextlib.suppress(OSError, ValueError):  # there is no such file, or it says "max"
            quota, period = map(int, (GROUPS / folder / group.name).read_text().split())
            yield math.ceil(quota / period)
