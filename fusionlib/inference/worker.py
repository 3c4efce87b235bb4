"""One thread per device: frames first, jobs between them, stale requests dropped."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")

FRAME, JOB = 0, 1
"""Priorities: a frame that somebody is waiting for goes before any batch of a background job."""


STREAMS = 4096
"""Streams whose newest generation is remembered: more than any number of open pages, and a bound on memory."""


class Superseded(Exception):  # noqa: N818 - not an error: a newer request took this one's place
    """A newer request of the same view arrived before this one was begun."""


class Worker:
    """Runs every torch call of one device in one thread, so that two sessions never compete for it.

    Jobs submit one batch at a time; a frame therefore waits for one batch at most.
    """

    def __init__(self, name: str = "device") -> None:
        self._heap: list[tuple[int, int, Callable[[], object], Future]] = []
        self._order = itertools.count()
        self._ready = threading.Condition()
        self._newest: OrderedDict[Hashable, int] = OrderedDict()
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

    def announce(self, stream: Hashable, generation: int) -> None:
        """Make known that `generation` of `stream` is wanted: earlier ones that have not begun will not."""
        with self._ready:
            self._newest[stream] = max(generation, self._newest.get(stream, generation))
            self._newest.move_to_end(stream)
            while len(self._newest) > STREAMS:
                self._newest.popitem(last=False)

    def run_newest(self, call: Callable[[], T], stream: Hashable, generation: int) -> T:
        """Like `run` at frame priority, unless a later `generation` of `stream` is known: then `Superseded`, no work."""
        self.announce(stream, generation)

        def guarded() -> T:
            if self._newest.get(stream, generation) > generation:
                raise Superseded
            return call()

        return self.run(guarded, FRAME)

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
