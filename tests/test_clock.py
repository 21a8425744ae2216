"""The time, in words for people."""

from datetime import timedelta

import pytest

from users import clock

WORDS = {
    timedelta(days=30): "30 days",
    timedelta(days=7): "7 days",
    timedelta(days=6, hours=2): "6 days",
    timedelta(hours=47): "47 hours",
    timedelta(hours=24): "24 hours",
    timedelta(minutes=119): "119 minutes",
    timedelta(minutes=5): "5 minutes",
    timedelta(seconds=20): "1 minute",
    timedelta(days=-1): "1 minute",
}


@pytest.mark.parametrize("ahead", WORDS)
def test_time_until(ahead: timedelta) -> None:
    assert clock.time_until(clock.now() + ahead) == WORDS[ahead]
