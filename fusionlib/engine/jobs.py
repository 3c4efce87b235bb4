"""Background work with progress, time left and cancel; it outlives the page that started it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from fusionlib.contracts import Progress
from fusionlib.errors import Cancelled, FusionError, UsageError

Lease = Callable[[Progress], AbstractContextManager[Progress]]
"""Waits until nobody else does the same, passing their progress on, and gives what to report to while it is held."""


class Job:
    """One piece of background work in a thread of its own; the torch calls inside it still go through the worker.

    `state` is idle, running, done, cancelled or failed. The work calls `progress(done, total)`, which raises
    `Cancelled` once somebody asked for it.
    """

    def __init__(self, title: str) -> None:
        self.title, self.state, self.message = title, "idle", None
        self.done, self.total = 0, 0
        self.stage = ""
        """What it does while its count stands still; empty while it counts."""
        self.result: Any = None
        self.lease: Lease | None = None
        """What keeps others from doing the same work at the same time; None: nobody else could."""
        self._cancel = threading.Event()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._ended.set()
        self._begun = 0.0
        self._error: FusionError | None = None
        self._next: Callable[[Job], Any] | None = None
        self._told: Progress = self._note

    def start(self, work: Callable[[Job], Any]) -> Job:
        """Begin, unless it is running already. While a cancelled run is still ending, begin as soon as it has."""
        with self._lock:
            if self.state == "running":
                if self._cancel.is_set():
                    self._next = work
                return self
            self._begin()
            self._ended.clear()
            threading.Thread(target=self._run, args=(work,), name=f"job-{self.title}", daemon=True).start()
        return self

    def cancel(self) -> None:
        """Ask the work to stop; it does so at its next batch."""
        with self._lock:
            self._next = None
            self._cancel.set()

    def progress(self, done: int, total: int) -> None:
        """Say how far the work is. Raises `Cancelled` when it should stop."""
        self._told(done, total)

    def _note(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        if self._cancel.is_set():
            raise Cancelled

    def wait(self, timeout: float | None = None) -> None:
        """Block until the work has ended.

        Not by `Thread.join`: before Python 3.13 an interrupt there counts as the end of the thread, and leaving the
        process while torch computes in another thread aborts it.
        """
        self._ended.wait(timeout)

    def follow(self, progress: Progress | None = None, needs: str = "work that runs through") -> None:
        """Wait until the work has ended and pass its progress on; whatever interrupts the waiting cancels the work.

        Raises: `UsageError` where it failed, `Cancelled` where somebody else cancelled it.
        """
        last: tuple[int, int] | None = None
        try:
            while self.state == "running" or (self.state == "done" and last not in (None, (self.done, self.total))):
                self.wait(0.1)  # the last steps may come between a look and the end: they are told as well
                last = self.done, self.total
                if progress is not None and self.total:
                    progress(*last)
        except BaseException:
            self.cancel()
            self.wait()
            raise
        if self.state == "failed":
            told = self._error  # in its own words: got, needs, do
            if told is not None:
                raise UsageError(told.got, told.needs, told.do) from told
            raise UsageError(str(self.message), needs, "Correct what it names")
        if self.state == "cancelled":
            raise Cancelled

    @property
    def stopping(self) -> bool:
        """Whether it was cancelled and has yet to come to the end of its batch."""
        return self.state == "running" and self._cancel.is_set()

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the pace since the start; None while there is nothing to go by."""
        if self.state != "running" or not self.done or not self.total:
            return None
        return (time.monotonic() - self._begun) / self.done * (self.total - self.done)

    def more(self) -> Callable[[Job], Any] | None:
        """Work that was asked for while the last was ending. Called under the lock: what is asked later starts anew."""
        return None

    def _begin(self) -> None:
        self._cancel.clear()
        self._next = self._error = None
        self.state, self.message, self.done, self.total = "running", None, 0, 0
        self.stage = ""
        self._begun = time.monotonic()

    def _run(self, work: Callable[[Job], Any] | None) -> None:
        while work is not None:
            state, message = self._outcome(work)
            with self._lock:
                work = self._next or (self.more() if state == "done" else None)
                if work is not None:
                    self._begin()
                else:
                    self.state, self.message = state, message
                    self._ended.set()

    def _outcome(self, work: Callable[[Job], Any]) -> tuple[str, str | None]:
        try:
            with self.lease(self._note) if self.lease else nullcontext(self._note) as self._told:
                self.result = work(self)
        except Cancelled:
            return "cancelled", None
        except FusionError as error:
            self._error = error
            return "failed", error.one_line
        except Exception as error:  # noqa: BLE001 - a job may fail for any reason; the app must go on and say which
            return "failed", f"{type(error).__name__}: {error}"
        finally:
            self._told = self._note
        # A cancel between two steps leaves nothing to do, and the work ends without an exception.
        return ("cancelled" if self._cancel.is_set() else "done"), None
