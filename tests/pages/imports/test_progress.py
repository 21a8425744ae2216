"""How far an import is, in words."""

from datetime import timedelta

import pytest

from users import clock
from users.pages.imports import progress
from users.storage.models import Import

NOW = clock.now()


def made(**values: object) -> Import:
    """An import of 1,000 rows that has run for 10 seconds."""
    given = {"state": "running", "rows_total": 1000, "rows_done": 0, "created": 0, "existing": 0, "rejected": 0}
    given |= {"started_at": NOW - timedelta(seconds=10), "bytes": 1000, "byte_offset": 0}
    return Import(**{**given, **values})


@pytest.mark.parametrize(
    ("values", "percent", "words"),
    [
        ({}, 0, "0 of 1,000 rows · 0 created"),
        (
            {"rows_done": 500, "created": 480, "existing": 15, "rejected": 5},
            50,
            "500 of 1,000 rows · 480 created · 15 skipped · 5 not imported · 50 a second · about 10 seconds left",
        ),
        (
            {"rows_done": 1, "created": 1},
            0,
            "1 of 1,000 rows · 1 created · 1 a second · about 3 hours left",
        ),
        ({"state": "waiting", "started_at": None}, 0, "0 of 1,000 rows · 0 created"),
        ({"rows_done": 999, "started_at": NOW - timedelta(seconds=1)}, 99, "999 of 1,000 rows · 0 created"),
        ({"state": "checking", "rows_total": None}, None, "The file is being read"),
        ({"state": "checking", "rows_done": 1, "byte_offset": 400}, 40, "1 row read"),
        ({"state": "checking", "rows_done": 9999, "byte_offset": 1000}, 99, "9,999 rows read"),
    ],
)
def test_words(values: dict[str, object], percent: int | None, words: str) -> None:
    found = progress.of(made(**values), NOW)
    assert (found.percent, found.words) == (percent, words)


def test_steps() -> None:
    """What is announced changes with each tenth."""
    steps = {progress.of(made(rows_done=done), NOW).step for done in range(1000)}
    assert steps == {f"{percent}% imported" for percent in range(0, 100, 10)}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "a few seconds"),
        (4.9, "a few seconds"),
        (5, "about 10 seconds"),
        (89, "about 90 seconds"),
        (90, "about 2 minutes"),
        (5399, "about 90 minutes"),
        (5400, "about 2 hours"),
    ],
)
def test_duration(seconds: float, words: str) -> None:
    assert progress.duration(seconds) == words


@pytest.mark.parametrize(
    ("state", "started", "words"),
    [
        ("checking", None, "Reading"),
        ("cancelled", None, "Discarded"),
        ("cancelled", NOW, "Cancelled"),
        ("of a newer version", None, "of a newer version"),
    ],
)
def test_states(state: str, started: object, words: str) -> None:
    assert progress.state(Import(state=state, started_at=started)) == words


def test_numbers() -> None:
    assert (progress.rows(1), progress.rows(1234)) == ("1 row", "1,234 rows")
    assert (progress.users(1), progress.users(0)) == ("1 user", "0 users")
