"""Works that a process keeps at hand, so that whichever page or session asks for the same finds the same one."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from fusionlib.engine.jobs import Job

Kept = TypeVar("Kept", bound=Job)

MOST = 8
"""Works kept at hand, unless more of them are running."""


class WorkDesk(Generic[Kept]):
    """Works by a key of their content.

    Of more than `most` the idle ones that were asked for longest ago are forgotten: their figures stay in the store,
    what is dropped are the weights that they hold.
    """

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._works: OrderedDict[str, Kept] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, key: str, make: Callable[[], Kept]) -> Kept:
        """The work of a key, made where there is none."""
        with self._lock:
            if key not in self._works:
                self._works[key] = make()
            self._works.move_to_end(key)
            for old in list(self._works)[:-1]:
                if len(self._works) > self.most and self._works[old].state != "running":
                    del self._works[old]
            return self._works[key]
