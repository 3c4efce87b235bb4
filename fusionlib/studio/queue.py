"""A job with a list of what it is to measure, which may change while it runs."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from fusionlib.engine.jobs import Job

Item = TypeVar("Item")


class QueueJob(Job, Generic[Item]):
    """Works off what is wanted, one after the other, until nothing is. Whoever changes `wanted` holds `guard`."""

    def __init__(self, title: str, work: Callable[[Any], Any]) -> None:
        super().__init__(title)
        self.wanted: deque[Item] = deque()
        self.guard = threading.Lock()
        self._work = work

    def run_wanted(self) -> None:
        """Begin, unless it is running already."""
        self.start(self._work)

    def cancel(self) -> None:
        """Stop at the next picture and want nothing more; what was measured stays."""
        super().cancel()  # first: work that finds nothing wanted must find out that it was stopped
        with self.guard:
            self.wanted.clear()

    def more(self) -> Callable[[Job], Any] | None:
        """What was wanted while the last one was finished."""
        return self._work if self.waiting() else None

    def next_wanted(self) -> Item | None:
        """Take the next one off the queue."""
        with self.guard:
            return self.wanted.popleft() if self.wanted else None

    def waiting(self) -> int:
        """How many are not begun."""
        with self.guard:
            return len(self.wanted)
