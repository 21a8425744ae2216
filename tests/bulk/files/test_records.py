"""The splitter agrees with Python's csv module on any text, however its blocks and bounds fall."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from users.bulk.files import lines, records
from users.bulk.files.layout import Place
from users.bulk.files.refusals import FileRefused

TEXTS = st.text(st.sampled_from('"",,\r\nab \u2028'), max_size=40)
START = Place(0, 1)


def by_csv(text: str) -> list[list[str]] | None:
    """Return the rows as the csv module reads them, None if it does not."""
    try:
        return list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error:
        return None


def by_us(text: str) -> dict[int, list[str] | None] | None:
    """Return the rows by their numbers, None if they are refused."""
    try:
        found = records.records(io.BytesIO(text.encode()), "utf-8", ",", START)
        *rows, (_, end, _, _) = found
        assert end == []
        return {number: cells for number, cells, _, _ in rows}
    except FileRefused:
        return None


@given(TEXTS, st.integers(1, 12), st.sampled_from([2, 5, 1000]))
@hypothesis_settings(deadline=None, max_examples=300)
def test_as_the_csv_module(text: str, block: int, bound: int) -> None:
    """With a small bound most rows are too large and are only skipped, in pieces: the same rows are found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "_BLOCK", block)
        for module in (lines, records):
            patch.setattr(module, "MAX_ROW_BYTES", bound)
        ours, theirs = by_us(text), by_csv(text)
    if ours is None or theirs is None:
        assert (ours is None) == (theirs is None)
        return
    for number, cells in enumerate(theirs, start=1):
        found = ours.pop(number, "blank")
        if found == "blank":
            assert "".join(cells).strip() == ""
            assert len(cells) < 2
        elif found is None:
            assert bound < 1000
        else:
            assert found == cells
    assert ours == {}


@given(TEXTS)
@hypothesis_settings(deadline=None)
def test_texts_and_ends_make_the_file(text: str) -> None:
    """What stands between the end of a row and that of the next is its text, with its end and blank lines before it."""
    content, at = text.encode(), 0
    try:
        for _, _, raw, end in records.records(io.BytesIO(content), "utf-8", ",", START):
            assert content[at:end].decode().strip("\r\n \u2028") == raw.strip("\r\n \u2028")
            at = end
    except FileRefused:
        return
    assert content[at:].decode().strip() == ""
