"""The short form of the fault matrix: no acknowledged user is lost or doubled, and no answer is an unexpected one."""

import os

import pytest

from faults.matrix import CRASHES, FAULTS, crash, under_load
from support.skips import unavailable


@pytest.mark.parametrize(("database", "victim"), CRASHES)
def test_what_was_acknowledged_survives_a_crash(database: str, victim: str) -> None:
    verdict = crash(database, victim, rounds=3)
    assert verdict.wrong == ()
    assert verdict.created > 50


@pytest.mark.parametrize(("name", "database"), [(name, one) for name, row in FAULTS.items() for one in row[0]])
def test_a_fault_that_heals_costs_nobody_anything(name: str, database: str) -> None:
    _databases, fault, size = FAULTS[name]
    if size and os.geteuid() != 0:
        unavailable("root, to mount a disk that is soon full")
    assert under_load(name, database, fault, seconds=2, size=size).wrong == ()
