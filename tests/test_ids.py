"""Ids: their order by creation time, and their form."""

import re
import time
import uuid
from datetime import UTC, datetime

import pytest

from users import ids


@pytest.mark.parametrize("prefix", ["usr", "akid", "evt"])
def test_form(prefix: str) -> None:
    """A prefix and the 32 lower-case digits of a UUIDv7."""
    before, made, after = time.time_ns(), ids.new_id(prefix), time.time_ns()
    match = re.fullmatch(rf"{prefix}_([0-9a-f]{{32}})", made)
    assert match
    number = uuid.UUID(match[1])
    assert (number.version, number.variant) == (7, uuid.RFC_4122)
    assert before // 1_000_000 <= number.int >> 80 <= after // 1_000_000


def test_order() -> None:
    made = [ids.new_id("usr") for _ in range(5000)]
    assert made == sorted(set(made))


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (0, 1_000_000),
        (999_999, 1_000_000),
        (1_000_000, 1_000_245),
        (1_999_000, 1_999_999),
        (int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 10**9, int(datetime(2400, 1, 1).timestamp()) * 10**9),
    ],
)
def test_order_within_a_millisecond(monkeypatch: pytest.MonkeyPatch, earlier: int, later: int) -> None:
    made = []
    for moment in (earlier, later):
        monkeypatch.setattr(time, "time_ns", lambda moment=moment: moment)
        made.append(ids.new_id("usr"))
        assert len(made[-1]) == 36
    assert made[0] < made[1]


def test_same_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_763_202_600_000_000_000)
    assert len({ids.new_id("usr") for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ids.new_id("usr"), True),
        ("usr_" + "0" * 32, True),
        (ids.new_id("akid"), False),
        ("usr_" + "0" * 31, False),
        ("usr_" + "0" * 33, False),
        ("usr_" + "A" * 32, False),
        ("USR_" + "0" * 32, False),
        ("usr_" + "g" * 32, False),
        ("usr_" + "٣" * 32, False),
        ("usr_" + "0" * 31 + "\0", False),
        ("usr_" + "0" * 32 + "\n", False),
        ("usr_" + "\ud800" * 32, False),
        ("0" * 32, False),
        ("", False),
        (str(2**63), False),
    ],
    ids=range(15),
)
def test_form_of_a_user_id(text: str, expected: bool) -> None:
    assert ids.is_user_id(text) is expected


def test_first() -> None:
    """`first` sorts before the ids of its moment and after older ids."""
    moment = datetime(2026, 1, 31, 12, 0, 0, 5000, tzinfo=UTC)
    milliseconds = int(moment.timestamp() * 1000)
    older, same = (f"evt_{number:012x}" for number in (milliseconds - 1, milliseconds))
    assert older + "f" * 20 < ids.first("evt", moment) == same + "0" * 20 < same + "7" + "0" * 19
    assert ids.first("evt", datetime(1, 1, 1, tzinfo=UTC)) == "evt_" + "0" * 32
    assert ids.is_event_id(ids.new_id("evt"))


@pytest.mark.parametrize(
    ("text", "well_formed"), [("req_12345678", True), ("req_1234567", False), ("req_12345678\n", False), ("", False)]
)
def test_form_of_a_request_id(text: str, well_formed: bool) -> None:
    assert ids.is_request_id(text) is well_formed


@pytest.mark.parametrize(
    ("text", "well_formed"),
    [
        ("req_12345678", True),
        ("req_" + "a" * 60, True),
        ("job.2026-11_24", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("x" * 7, False),
        ("xxxxxxxx\n", False),
        ("xxx xxxxx", False),
        ("ääääääää", False),
    ],
)
def test_form_of_a_client_request_id(text: str, well_formed: bool) -> None:
    assert ids.is_client_request_id(text) is well_formed
