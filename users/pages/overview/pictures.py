"""The geometry of the bar charts: one column for each day. The template draws it as SVG.

Across, all is in percent of the width, and down in pixels: so the picture fits every screen while its text keeps its
size. A second series stands on its head below the line of 0, on the same scale: no colour is needed to tell them apart.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

HEIGHT = 176  # pixels
TOP, BOTTOM = 12, 148  # of the bars; the dates are below
LEFT = 12.0  # percent; the numbers of the scale are before it
BAR = 0.7  # of the width of its column
MOST_MARKS = 5
LEAST_HEIGHT = 1.5  # pixels: 1 beside 40,000 is not 0
DAYS_BETWEEN = 7  # dates below the bars


@dataclass(frozen=True)
class Mark:
    """A line of the scale."""

    y: float
    label: str
    is_zero: bool


@dataclass(frozen=True)
class Bar:
    """A number as a bar from the line of 0."""

    y: float
    height: float
    is_below: bool


@dataclass(frozen=True)
class Column:
    """A day: what is known of it, or that nothing is."""

    left: float  # percent, as the two others
    width: float
    bar_left: float
    bar_width: float
    bars: Sequence[Bar]
    is_gap: bool


@dataclass(frozen=True)
class Picture:
    """A bar chart."""

    marks: Sequence[Mark]
    columns: Sequence[Column]
    dated: Sequence[int]  # the days that are named, counted from the first


def draw(above: Sequence[int | None], below: Sequence[int | None] = ()) -> Picture:
    """Return the picture of a number for each day, None where it is not known, and of a second series below them."""
    highest, deepest = (max((number or 0 for number in numbers), default=0) for numbers in (above, below))
    step = _step(highest, deepest)
    up, down = math.ceil(highest / step), math.ceil(deepest / step)
    up = up if up + down else 1
    pixels = (BOTTOM - TOP) / ((up + down) * step)
    zero = TOP + up * step * pixels
    marks = [
        Mark(_rounded(zero - place * step * pixels), short(abs(place) * step), place == 0)
        for place in range(-down, up + 1)
    ]
    width = (100 - LEFT) / len(above)
    columns = [
        Column(
            _rounded(LEFT + place * width),
            _rounded(width),
            _rounded(LEFT + (place + (1 - BAR) / 2) * width),
            _rounded(width * BAR),
            [*_bars(number, zero, pixels, is_below=False), *_bars(other, zero, pixels, is_below=True)],
            is_gap=number is None,
        )
        for place, (number, other) in enumerate(itertools.zip_longest(above, below))
    ]
    last = len(above) - 1
    return Picture(marks, columns, [day for day in range(last + 1) if (last - day) % DAYS_BETWEEN == 0])


def _bars(number: int | None, zero: float, pixels: float, *, is_below: bool) -> Iterator[Bar]:
    if number:
        height = max(number * pixels, LEAST_HEIGHT)
        yield Bar(_rounded(zero if is_below else zero - height), _rounded(height), is_below)


def _step(highest: int, deepest: int) -> int:
    """Return the least round number, 1, 2 or 5 with zeros, that makes at most MOST_MARKS marks."""
    steps = (factor * size for size in _sizes() for factor in (1, 2, 5))
    return next(one for one in steps if math.ceil(highest / one) + math.ceil(deepest / one) < MOST_MARKS)


def _sizes() -> Iterator[int]:
    return (10**zeros for zeros in range(20))


def short(number: int) -> str:
    """Return a round number as a label of the scale: 500, 2k, 1.5m."""
    for size, unit in ((1_000_000, "m"), (1_000, "k")):
        if number >= size:
            return f"{number / size:g}{unit}"
    return str(number)


def _rounded(number: float) -> float:
    return round(number, 2)
