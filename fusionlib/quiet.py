"""Warnings of code that nobody here can change stay out of the terminal, where they would stand beside an answer of one
line.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_inside = threading.local()


@contextmanager
def quiet() -> Iterator[None]:
    """Inside the block no warning of the calling thread is shown; those of other threads are.

    For torch reading files and for the user's network: what they warn of (how a pickle was written, a deprecated call)
    is addressed to whoever wrote those.
    """
    if not warnings.filters or warnings.filters[0][2] is not _OfQuietThreads:  # others may have set theirs before it
        warnings.simplefilter("ignore", _OfQuietThreads)
    _inside.depth = getattr(_inside, "depth", 0) + 1
    try:
        yield
    finally:
        _inside.depth -= 1


class _AsksTheThread(type):
    def __subclasscheck__(cls, subclass: type) -> bool:
        return getattr(_inside, "depth", 0) > 0


class _OfQuietThreads(Warning, metaclass=_AsksTheThread):
    """Every warning, as far as filters are concerned, while the thread that warns is inside of `quiet`.

    `warnings.catch_warnings` would do for one thread: it changes the filters of the whole process and puts back what
    they were, which other threads may have changed meanwhile.
    """
