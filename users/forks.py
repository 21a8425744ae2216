"""Functions to call at a fork: a child has none of its parent's threads and must not use its connections.

A server may load the application once and then fork its workers, as gunicorn does with --preload.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")

_before: WeakKeyDictionary[Any, Callable[[Any], None]] = WeakKeyDictionary()
_in_child: WeakKeyDictionary[Any, Callable[[Any], None]] = WeakKeyDictionary()


def register(thing: T, *, in_child: Callable[[T], None], before: Callable[[T], None] | None = None) -> None:
    """Call `before(thing)` in the parent before each fork from now on, and `in_child(thing)` in the child after it.

    Only while `thing` lives, so neither function may hold a reference to it: `os.register_at_fork` alone would keep
    it for ever.
    """
    _in_child[thing] = in_child
    if before:
        _before[thing] = before


def _call(registered: WeakKeyDictionary[Any, Callable[[Any], None]]) -> None:
    for thing, act in list(registered.items()):
        act(thing)


os.register_at_fork(before=lambda: _call(_before), after_in_child=lambda: _call(_in_child))
