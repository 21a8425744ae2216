"""The short form of the rolling restart."""

from pathlib import Path

from faults.rolling import SETTINGS, roll
from support.installations import installed


def test_rolling_restart(tmp_path: Path) -> None:
    """Two hosts behind nginx that restart one right after the other lose no request and double none."""
    with installed(tmp_path / "enrol", SETTINGS) as here:
        answers = roll(here, tmp_path, rounds=1, clients=2, kind="granian")
    assert set(answers) == {"201"}
    assert answers["201"] > 20
