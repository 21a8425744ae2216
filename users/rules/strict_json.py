"""JSON read strictly: RFC 8259 with the restrictions of RFC 7493, and nothing that cannot be stored or passed on."""

import json
import math
from collections.abc import Iterator
from typing import Any, NoReturn

MAX_DEPTH = 32
_TOO_LARGE = "holds a number that is too large."
_TOO_DEEP = f"must be nested {MAX_DEPTH} levels deep or less."


class NotStrictJson(Exception):
    """The text is not JSON, or more than JSON. `words` go on after what the text is, such as "The request body"."""

    def __init__(self, words: str, *, line: int | None = None, column: int | None = None) -> None:
        super().__init__(words)
        self.words = words
        self.line = line
        self.column = column


def parse(text: str) -> object:
    """Return what `text` says. Raises NotStrictJson, with the line and column if known.

    Members named twice, NaN, Infinity and numbers that are too large are refused. `check_contents` has the other rules.
    """
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        words = f"is not JSON: look at line {error.lineno}, column {error.colno}."
        raise NotStrictJson(words, line=error.lineno, column=error.colno) from None
    except RecursionError:
        raise NotStrictJson(_TOO_DEEP) from None
    except ValueError:  # an integer of more digits than Python reads, by default 4,300
        raise NotStrictJson(_TOO_LARGE) from None


def check_contents(members: dict[str, Any]) -> None:
    """Raise NotStrictJson for JSON that cannot be stored or passed on: deep nesting, NUL and lone surrogates."""
    for text in _strings(members, depth=1):
        if "\0" in text:
            raise NotStrictJson("must not hold the character NUL.")
        if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
            raise NotStrictJson("holds half of a surrogate pair.")


def _strings(value: object, depth: int) -> Iterator[str]:
    """Yield every string in `value`, names of members too. Raises NotStrictJson below MAX_DEPTH levels."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        if depth > MAX_DEPTH:
            raise NotStrictJson(_TOO_DEEP)
        inside = value if isinstance(value, list) else [*value, *value.values()]
        for item in inside:
            yield from _strings(item, depth + 1)


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NotStrictJson("names a member twice.")
    return members


def _refuse_constant(_name: str) -> NoReturn:
    raise NotStrictJson("must not hold NaN or Infinity, which JSON does not have.")


def _finite_number(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise NotStrictJson(_TOO_LARGE)
    return number


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_members, parse_constant=_refuse_constant, parse_float=_finite_number
)
