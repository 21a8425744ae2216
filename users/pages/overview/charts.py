"""The two charts of the overview in words and numbers: what their pictures and the tables beneath them show."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from users.pages.overview import pictures
from users.pages.overview.pictures import Picture
from users.services.overview.daily_counts import COUNTED, Day
from users.storage.lists.paging import Count


@dataclass(frozen=True)
class Series:
    """One number for each day."""

    name: str  # in the plural, as the header of a column
    of: Callable[[Day], Count | None]


@dataclass(frozen=True)
class Row:
    """A day of the table."""

    day: date
    name: str
    cells: Sequence[str]
    tip: str


@dataclass(frozen=True)
class Chart:
    """A chart; without a picture if nothing happened on any of the days that are known."""

    id: str
    title: str
    names: Sequence[str]
    totals: Sequence[str]
    description: str
    picture: Picture | None
    rows: Sequence[Row]
    is_waiting: bool  # a day is not counted yet
    is_pruned: bool  # a day can no longer be counted


SIGN_UPS = (Series("Sign-ups", lambda day: day.users_created),)
SIGN_INS = (Series("Sign-ins", lambda day: day.sign_ins), Series("Refusals", lambda day: day.refusals))


def chart(days: Sequence[Day], series: Sequence[Series]) -> Chart:
    """Return the chart of one or two series; the last of the days is today."""
    numbers = [[one.of(day) for day in days] for one in series]
    bars = [[count.number if count else None for count in each] for each in numbers]
    is_known = [day.is_counted for day in days]
    return Chart(
        id=series[0].name.lower(),
        title=" and ".join(one.name for one in series).capitalize() + " a day",
        names=[one.name for one in series],
        totals=[_total(one, each) for one, each in zip(series, numbers, strict=True)],
        description=_description(days, series),
        picture=pictures.draw(*bars) if any(map(any, bars)) else None,
        rows=[_row(day, series, is_today=day is days[-1]) for day in days],
        is_waiting=not all(is_known),
        is_pruned=any(day.is_counted and one.of(day) is None for day in days for one in series),
    )


def _total(series: Series, counts: Sequence[Count | None]) -> str:
    number = sum(count.number for count in counts if count)
    is_exact = all(count and not count.many for count in counts)
    return f"{'' if is_exact else 'at least '}{number:,} {_named(series, number)}"


def _named(series: Series, number: int) -> str:
    name = series.name.lower()
    return name.removesuffix("s") if number == 1 else name


def _row(day: Day, series: Sequence[Series], *, is_today: bool) -> Row:
    name, so_far = ("Today", " so far") if is_today else (short_date(day.day), "")
    counts = [one.of(day) for one in series]
    cells = [_words(count) + so_far if count else _UNKNOWN[day.is_counted] for count in counts]
    if None in counts:
        return Row(day.day, name, cells, f"{name}: {_UNKNOWN[day.is_counted].lower()}")
    said = [
        f"{_words(count).lower()} {_named(one, count.number)}"
        for one, count in zip(series, counts, strict=True)
        if count
    ]
    return Row(day.day, name, cells, f"{name}: {', '.join(said)}{so_far}")


_UNKNOWN = {True: "Not known", False: "Not counted yet"}


def _words(count: Count) -> str:
    if count.many:
        return f"{'More than' if count.number >= COUNTED else 'At least'} {count.number:,}"
    return f"{count.number:,}"


def short_date(day: date) -> str:
    """Return a day for people, without the year: `23 Nov`."""
    return f"{day:%-d %b}"


def _description(days: Sequence[Day], series: Sequence[Series]) -> str:
    """Return in a sentence or two what the picture shows."""
    begin, end = days[0].day, days[-1].day
    parts = [f"From {begin:%-d %b %Y} to {end:%-d %b %Y}."]
    for one in series:
        known = [(count, day.day) for day in days if (count := one.of(day))]
        most, when = max(known, key=lambda pair: pair[0].number, default=(Count(0), end))
        if most.number:
            none = [count.number for count, _ in known].count(0)
            days_without = "1 day" if none == 1 else f"{none} days"
            parts.append(f"{one.name}: most on {short_date(when)}, {_words(most).lower()}; none on {days_without}.")
    return " ".join([*parts, "Today is not over."])
