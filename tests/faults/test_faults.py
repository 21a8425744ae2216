"""The short form of the fault matrix: no acknowledged user is lost or doubled, and no answer is an unexpected one."""

import os

import pytest

from faults.matrix import CRASHES, FAULTS, PAIR_FAULTS, crash, under_load
from support.skips import unavailable


@pytest.mark.parametrize(("database", "victim"), CRASHES)
def test_crash(database: str, victim: str) -> None:
    """A user whose create was answered 201 is there after a crash, and so is a password set by a link."""
    verdict = crash(database, victim, rounds=2)
    assert verdict.wrong == ()
    assert verdict.created > 50
    assert verdict.used


@pytest.mark.parametrize(("name", "database"), [(name, one) for name, row in FAULTS.items() for one in row[0]])
def test_fault_that_heals(name: str, database: str) -> None:
    """A fault that ends loses no user, doubles no user and leaves the service well."""
    _databases, fault, size = FAULTS[name]
    if size and os.geteuid() != 0:
        unavailable("root, to mount a disk that is soon full")
    assert under_load(name, database, fault, seconds=1, size=size).wrong == ()


def test_failover() -> None:
    """No acknowledged user is lost when the synchronous standby takes the place of a primary that was killed."""
    name = "primary killed"
    assert under_load(name, "two of postgres", PAIR_FAULTS[name], seconds=0.5).wrong == ()
