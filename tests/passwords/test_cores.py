"""The cores that a process may use."""

import os
from pathlib import Path

import pytest

from users.passwords import cores


def test_default_slots() -> None:
    """One slot for each core that the process may use."""
    assert 1 <= cores.usable() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("own", "quotas", "found"),
    [
        ("0::/", {"": "50000 100000"}, 1),  # half a core, seen from within a container
        ("0::/", {"": "150000 100000"}, 2),
        ("0::/", {"": "max 100000"}, 64),
        ("0::/", {"": "9900000 100000"}, 64),
        ("0::/", {"": "what?"}, 64),
        ("0::/", {}, 64),
        ("12:cpu:/\n0::/system.slice/enrol.service", {"system.slice/enrol.service": "300000 100000"}, 3),
        ("0::/a/b", {"a": "200000 100000", "a/b": "300000 100000"}, 2),  # the lowest limit of the groups around it
        ("0::/a", {"a/b": "200000 100000"}, 64),
        ("12:cpu:/", {"": "50000 100000"}, 64),
        (None, {"": "50000 100000"}, 64),
    ],
)
def test_cgroup_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str | None, quotas: dict[str, str], found: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: range(64))
    monkeypatch.setattr(cores, "OWN_GROUP", tmp_path / "cgroup")
    monkeypatch.setattr(cores, "GROUPS", tmp_path / "groups")
    if own:
        (tmp_path / "cgroup").write_text(own + "\n")
    for group, quota in quotas.items():
        (tmp_path / "groups" / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / group / "cpu.max").write_text(quota + "\n")
    assert cores.usable() == found
