"""What a test does on a machine that lacks something."""

import os
from typing import NoReturn

import pytest


def unavailable(what: str) -> NoReturn:
    """Skip for want of `what`; in CI, where everything must be there, fail."""
    if os.environ.get("CI"):
        pytest.fail(f"CI has {what}")
    pytest.skip(f"needs {what}")
