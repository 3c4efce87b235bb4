"""Background work with progress, time left and cancel; it outlives the page that started it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from fusionlib.errors import Cancelled, FusionError


class Job:
    """One piece of background work in a thread of its own; the torch calls inside it still go through the worker.

    `state` is idle, running, done, cancelled or failed. The work calls `progress(done, total)`, which raises `Cancelled`
    once somebody asked for it.
    """

    def __init__(self, title: str) -> None:
        self.title, self.state, self.message = title, "idle", None
        self.done, self.total = 0, 0
        self.result: Any = None
        self._cancel = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._clock: tuple[float, int] = (0.0, 0)

    def start(self, work: Callable[[Job], Any]) -> Job:
        """Begin, unless it is running already."""
        with self._lock:
            if self.state == "running":
                return self
            self._cancel.clear()
            self.state, self.message = "running", None
            self._clock = (time.monotonic(), self.done)
            self._thread = threading.Thread(target=self._run, args=(work,), name=f"job-{self.title}", daemon=True)
            self._thread.start()
        return self

    def cancel(self) -> None:
        """Ask the work to stop; it does so at its next batch."""
        self._cancel.set()

    def progress(self, done: int, total: int) -> None:
        """Say how far the work is. Raises `Cancelled` when it should stop."""
        self.done, self.total = done, total
        if self._cancel.is_set():
            raise Cancelled

    def wait(self, timeout: float | None = None) -> None:
        """Block until the work has ended."""
        if self._thread is not None:
            self._thread.join(timeout)

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the pace since the start; None while there is nothing to go by."""
        since, before = self._clock
        if self.state != "running" or self.done <= before or not self.total:
            return None
        return (time.monotonic() - since) / (self.done - before) * (self.total - self.done)

    def _run(self, work: Callable[[Job], Any]) -> None:
        try:
            self.result = work(self)
            self.state = "done"
        except Cancelled:
            self.state = "cancelled"
        except FusionError as error:
            self.state, self.message = "failed", error.one_line
        except Exception as error:  # noqa: BLE001 - a job may fail for any reason; the app must go on and say which
            self.state, self.message = "failed", f"{type(error).__name__}: {error}"
