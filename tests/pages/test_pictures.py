"""The geometry of the pictures: an honest scale, every number drawn, and nothing else."""

import pytest

from users.pages.overview import pictures


def labels(*series: list[int | None]) -> list[str]:
    """Return the labels of the scale, from the bottom."""
    return [mark.label for mark in pictures.draw(*series).marks]


@pytest.mark.parametrize(
    ("above", "below", "expected"),
    [
        ([1, 0, 0], [], ["0", "1"]),
        ([3, 2], [], ["0", "1", "2", "3"]),
        ([5], [], ["0", "2", "4", "6"]),
        ([64], [], ["0", "20", "40", "60", "80"]),
        ([40_000, 3], [], ["0", "10k", "20k", "30k", "40k"]),
        ([1_500_000], [], ["0", "500k", "1m", "1.5m"]),
        ([1071], [448], ["500", "0", "500", "1k", "1.5k"]),
        ([0, 0], [40, 3], ["40", "30", "20", "10", "0"]),
        ([None, 7], [None, 0], ["0", "2", "4", "6", "8"]),
        ([0, 0], [0, 0], ["0", "1"]),
    ],
)
def test_scale(above: list[int | None], below: list[int | None], expected: list[str]) -> None:
    """It begins at 0, goes beyond the largest number and has few round marks."""
    assert labels(above, below) == expected


def test_bars_begin_at_zero() -> None:
    picture = pictures.draw([1071, 0, None, 1], [448, 0, None, 0])
    zero = next(mark.y for mark in picture.marks if mark.is_zero)
    marks = [mark.y for mark in picture.marks]
    assert (min(marks), max(marks)) == (pictures.TOP, pictures.BOTTOM)
    up, down = picture.columns[0].bars
    assert round(up.y + up.height, 1) == round(zero, 1) == round(down.y, 1)
    assert up.height / down.height == pytest.approx(1071 / 448, rel=0.01)
    assert [len(column.bars) for column in picture.columns] == [2, 0, 0, 1]
    assert [column.is_gap for column in picture.columns] == [False, False, True, False]
    assert picture.columns[3].bars[0].height == pictures.LEAST_HEIGHT


def test_columns_fill_the_width() -> None:
    picture = pictures.draw([1] * 30)
    first, last = picture.columns[0], picture.columns[-1]
    assert first.left == pictures.LEFT
    assert last.left + last.width == pytest.approx(100, abs=0.05)
    assert picture.dated == [1, 8, 15, 22, 29]
