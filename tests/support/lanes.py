"""The lanes of the test suite: which tests need a browser, which start processes, and which are fast."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType

import pytest

TESTS = Path(__file__).parents[1]
STARTS = {"in_a_shell", "installed", "own_postgres", "pgbouncer", "subprocess"}  # names of what starts a process


def mark(item: pytest.Function) -> None:
    """Give a test the marker of its lane: `browser`, `processes`, or none for the fast one."""
    folder = item.path.relative_to(TESTS).parts[0]
    if folder == "browser":
        item.add_marker("browser")
    elif folder in ("faults", "processes") or _is_on_postgres(item) or any(map(_starts_processes, _functions_of(item))):
        item.add_marker("processes")


def _is_on_postgres(item: pytest.Function) -> bool:
    return "callspec" in vars(item) and "postgres" in vars(item)["callspec"].params.values()


def _functions_of(item: pytest.Function) -> Iterator[FunctionType]:
    """Yield the test and the fixtures that it uses."""
    yield getattr(getattr(item.function, "hypothesis", None), "inner_test", item.function)
    for definitions in item._fixtureinfo.name2fixturedefs.values():
        yield from (one.func for one in definitions)  # type: ignore[misc]


@cache
def _starts_processes(function: FunctionType) -> bool:
    """Tell whether the code of a function names something that starts a process, or a function of its module does."""
    names = set(_names_in(function.__code__))
    known = (function.__globals__.get(name) for name in names)
    same = [one for one in known if type(one) is FunctionType and one.__globals__ is function.__globals__]
    return bool(names & STARTS) or any(_starts_processes(one) for one in same if one is not function)


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _names_in(one)
