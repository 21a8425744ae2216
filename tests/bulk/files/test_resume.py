"""A reading goes on at any place that an earlier one told, to the byte."""

import io

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from support.user_files import PLAIN, rows_of
from users.bulk.files import lines as lines_module
from users.bulk.files.layout import Place
from users.bulk.files.reading import look, read
from users.bulk.options import Options

CSV = (
    "email,first_name\r\na@example.com,Zoë\r\n\r\n"
    '"b@example.com","two\r\n""lines"", 𝒜"\n;,\rc@example.com,\r\n,,\n"d@example.com",'
)
JSON = '{"email": "a@example.com", "first_name": "Zoë 𝒜"}\n\n  \r\n{"email": 1}\r[]\n{"email": "d@example.com"}'
NAMED = {"cp1252": "windows-1252", "iso8859-15": "iso-8859-15"}


@pytest.mark.parametrize("text", [CSV, JSON], ids=["csv", "jsonl"])
@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252", "iso8859-15"])
def test_goes_on_at_each_row(text: str, codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where blocks end in the middle of characters, line ends and quotes."""
    content = text.replace("𝒜", "𝒜" if codec.startswith("utf") else "A").encode(codec)
    if codec == "utf-16-be":
        content = "\ufeff".encode(codec) + content
    options = Options(encoding=NAMED.get(codec))
    whole = rows_of(content, options)
    assert [row.row.number for row in whole] == ([2, 4, 5, 6, 8] if text == CSV else [1, 4, 5, 6])
    assert whole[-1].end.byte_offset == len(content)
    for block in (1, 2, 3, 7):
        monkeypatch.setattr(lines_module, "_BLOCK", block)
        assert rows_of(content, options) == whole
        file = io.BytesIO(content)
        layout = look(file, options)
        for n, row in enumerate(whole, start=1):
            assert list(read(file, layout, row.end)) == whole[n:]


@given(
    st.lists(st.text(st.sampled_from('a"\r\n,ü€𝒜 '), max_size=6), min_size=1, max_size=6),
    st.sampled_from(["utf-8", "utf-16"]),
    st.integers(1, 9),
)
@hypothesis_settings(deadline=None, max_examples=60)
def test_any_cells(cells: list[str], codec: str, block: int) -> None:
    quoted = "".join('\n"x","' + cell.replace('"', '""') + '"' for cell in cells)
    content = f"email,first_name{quoted}".encode(codec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines_module, "_BLOCK", block)
        whole = rows_of(content)
        assert [row.row.cells.get("first_name", "") for row in whole] == cells
        file = io.BytesIO(content)
        layout = look(file, PLAIN)
        assert [row for n in range(len(whole)) for row in list(read(file, layout, whole[n].end))[:1]] == whole[1:]


def test_nothing_is_left() -> None:
    """A reading that goes on at the end of the file is no empty file."""
    file = io.BytesIO(b"email\na@example.com\n\n")
    layout = look(file, PLAIN)
    assert list(read(file, layout, Place(20, 4))) == []
