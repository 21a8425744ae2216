"""Skipping a test on a machine that lacks a program it needs."""

import os
from typing import NoReturn

import pytest


def unavailable(what: str) -> NoReturn:
    """Skip the test because `what` is missing; in CI, where it must be there, fail."""
    if os.environ.get("CI"):
        pytest.fail(f"CI has {what}")
    pytest.skip(f"needs {what}")
