"""One thread per device: frames first, jobs between them."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from fusionlib.engine.turns import Turns

T = TypeVar("T")

FRAME, JOB = 0, 1
"""Priorities: a frame that somebody is waiting for goes before any batch of a background job."""

Run = Callable[[Callable[[], Any]], Any]
"""Executes a call on the device's worker and waits for it."""


def at_once(call: Callable[[], T]) -> T:
    """A `Run` for whoever is on the worker already, or needs none."""
    return call()


class Worker:
    """Runs every torch call of one device in one thread, so that two sessions never compete for it.

    Jobs submit one batch at a time; a frame therefore waits for one batch at most. Whose frame is next is a matter of
    `turns`.
    """

    def __init__(self, name: str = "device") -> None:
        self._heap: list[tuple[int, int, Callable[[], object], Future]] = []
        self._order = itertools.count()
        self._ready = threading.Condition()
        self.turns = Turns()
        self._thread = threading.Thread(target=self._serve, name=f"worker-{name}", daemon=True)
        self._thread.start()

    def submit(self, call: Callable[[], T], priority: int = JOB) -> Future[T]:
        """Queue `call`; its result or exception is in the future."""
        future: Future[T] = Future()
        with self._ready:
            heapq.heappush(self._heap, (priority, next(self._order), call, future))
            self._ready.notify()
        return future

    def run(self, call: Callable[[], T], priority: int = JOB) -> T:
        """Queue `call` and wait for it. Called from the worker's own thread it runs at once."""
        if threading.current_thread() is self._thread:
            return call()
        return self.submit(call, priority).result()

    def _serve(self) -> None:
        while True:
            with self._ready:
                while not self._heap:
                    self._ready.wait()
                _, _, call, future = heapq.heappop(self._heap)
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001 - whatever it is belongs to the caller, the thread lives on
                future.set_exception(error)
            del call, future
