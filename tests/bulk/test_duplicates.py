"""Rows of one file with the same email or id: the first good one keeps it, and the memory for it is small."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.bulk_rows import good_row
from users.bulk import duplicates
from users.bulk.duplicates import Duplicates, Seen
from users.field_errors import FieldError, RowCode

pytestmark = pytest.mark.one_database


def seen(*emails: str) -> Duplicates:
    """Return the duplicates of rows 2 and on with these emails."""
    found = Seen()
    for number, email in enumerate(emails, start=2):
        found.add(good_row(number, email))
    return found.first_of()


def test_first_keeps_the_email() -> None:
    found = seen("jo@example.com", "ada@example.com", "Jo@EXAMPLE.com", "jo@example.com")
    assert [found.first(number) for number in range(2, 6)] == [None, None, 2, 2]
    words = "The same email address stands in row 2"
    assert found.errors(4) == (FieldError("email", RowCode.DUPLICATE_IN_FILE, words),)
    assert found.errors(3) == ()


def test_first_keeps_the_id() -> None:
    found, user_id = Seen(), "usr_01900000000070008000000000000001"
    found.add(good_row(2, "jo@example.com", id=user_id))
    found.add(good_row(1_003, "jo@example.com", id=user_id))
    assert [(one.field, str(one.code)) for one in found.first_of().errors(1_003)] == [
        ("email", "DUPLICATE_IN_FILE"),
        ("id", "ID_ALREADY_EXISTS"),
    ]


@given(st.lists(st.integers(0, 60), max_size=300))
def test_is_what_a_dictionary_finds(given_rows: list[int]) -> None:
    found, firsts = seen(*(f"{one}@example.com" for one in given_rows)), dict[int, int]()
    for number, one in enumerate(given_rows, start=2):
        first = firsts.setdefault(one, number)
        assert found.first(number) == (None if first == number else first)


def test_table_grows_and_keeps_what_it_knows() -> None:
    firsts = duplicates._Firsts()
    hashes = [one * 4_096 for one in range(5_000)]  # all begin in few slots
    assert [firsts.add(hashed, number) for number, hashed in enumerate(hashes)] == [None] * 5_000
    assert [firsts.add(hashed, 9_999) for hashed in hashes] == list(range(5_000))


def test_memory() -> None:
    """A million rows take 24 MiB, so 100,000 take 2.4."""
    firsts = duplicates._Firsts()
    for number in range(100_000):
        firsts.add(hash(str(number)), number)
    arrays = (firsts._hashes, firsts._numbers, firsts._table)
    assert sum(one.itemsize * len(one) for one in arrays) < 2.4 * 2**20


def test_file() -> None:
    found = seen("jo@example.com", "jo@example.com", "ada@example.com", "jo@example.com")
    file = io.BytesIO()
    found.write(file)
    file.seek(0)
    assert Duplicates.read(file) == found
    for cut in range(len(file.getvalue())):
        with pytest.raises(EOFError):
            Duplicates.read(io.BytesIO(file.getvalue()[:cut]))
