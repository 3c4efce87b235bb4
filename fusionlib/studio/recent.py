"""What was made lately and may be asked for again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, TypeVar

T = TypeVar("T")

RECENT_BYTES = 512 << 20
"""Frames and maps of all views of a process together."""

ENTRY_BYTES = 2048
"""What an entry takes beside its content: key, figures, the tables around them."""


class Recent:
    """A table bounded by bytes: what was used longest ago goes.

    Threads may share it; values are handed out without a copy.
    """

    def __init__(self, limit: int = RECENT_BYTES) -> None:
        self.limit, self.bytes = limit, 0
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> Any:
        """The value, or None."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def keep(self, key: Hashable, value: T, size: int) -> T:
        """Remember `value`, whose content takes `size` bytes, and return it. One beyond the limit is not kept."""
        size += ENTRY_BYTES
        with self._lock:
            if key in self._entries:
                self.bytes -= self._entries.pop(key)[1]
            if size <= self.limit:
                self._entries[key] = value, size
                self.bytes += size
            while self.bytes > self.limit:
                self.bytes -= self._entries.popitem(last=False)[1][1]
        return value
