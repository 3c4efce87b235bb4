"""Whose frame is made next: sessions in turn, of each only its newest wishes."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

T = TypeVar("T")

THREADS = 4
"""Frames in the making at once: while one is decoded or encoded, the device works on another.

No session has two of them.
"""

SLACK = 2.0
"""Seconds of the device that a session may have had beyond the one that had least before it sits out for others to
catch up.
"""

LINGER = 0.1
"""Seconds for which somebody who has just got a frame is still reckoned with: while a slider moves, the next wish is on
its way.
"""

REMEMBERED = 4096
"""Sessions and lines of which something is remembered: more than any number of open pages, and a bound on memory."""


class Superseded(Exception):  # noqa: N818 - not an error: a newer request took this one's place
    """A newer request of the same line has come."""


@dataclass(frozen=True)
class _Request:
    call: Callable[[], Any]
    future: Future


class Turns:
    """Requests of many sessions, one of each after the other.

    A *line* is what a newer request replaces (one pane of one view); generations of a line grow. Sessions come round
    robin, and one whose requests are dear (large pictures) sits out while it is `SLACK` seconds ahead of another that
    is active.
    """

    def __init__(self, threads: int = THREADS) -> None:
        self._threads = threads
        self._started = False
        self._ready = threading.Condition()
        self._waiting: OrderedDict[str, OrderedDict[Hashable, _Request]] = OrderedDict()
        self._served: set[str] = set()
        self._left: dict[str, float] = {}  # when those who wait for nothing got their last
        self._newest: OrderedDict[tuple[str, Hashable], int] = OrderedDict()
        self._used: OrderedDict[str, float] = OrderedDict()
        self._least = 0.0  # seconds used by whoever used least; who comes after a pause has no credit from it

    def ask(self, session: str, line: Hashable, generation: int, call: Callable[[], T]) -> Future[T]:
        """Make `call` when the session's turn comes.

        What waits in the same line is `Superseded`, and so is a call older than another.
        """
        future: Future[T] = Future()
        late = request = _Request(call, future)
        self.note(session, line, generation)
        with self._ready:
            if self._newest.get((session, line), generation) <= generation:
                lines = self._waiting.setdefault(session, OrderedDict())
                late, lines[line] = lines.get(line), request  # in the place of the one it replaces
                self._start()
                self._ready.notify()
        if late is not None and late.future.set_running_or_notify_cancel():
            late.future.set_exception(Superseded())
        return future

    def note(self, session: str, line: Hashable, generation: int) -> None:
        """Make known that `generation` is wanted, where nothing needs to be made for it."""
        with self._ready:
            _keep(self._newest, (session, line), max(generation, self._newest.get((session, line), generation)))

    def check(self, session: str, line: Hashable, generation: int) -> None:
        """Raises `Superseded` where a later generation is wanted meanwhile."""
        if self._newest.get((session, line), generation) > generation:
            raise Superseded

    def charge(self, session: str, seconds: float) -> None:
        """Add to what the session has had of the device. Time spent waiting for others is no part of it."""
        with self._ready:
            _keep(self._used, session, self._seconds(session) + seconds)

    def _start(self) -> None:
        if not self._started:
            self._started = True
            for number in range(self._threads):
                threading.Thread(target=self._serve, name=f"frames-{number}", daemon=True).start()

    def _serve(self) -> None:
        while True:
            with self._ready:
                while (session := self._next()) is None:
                    self._ready.wait(LINGER if self._waiting.keys() - self._served else None)
                request = self._take(session)
            _run(request)
            del request
            with self._ready:
                self._served.discard(session)
                self._left[session] = monotonic()
                self._ready.notify()

    def _next(self) -> str | None:
        """The first that waits, is not being served and is not far ahead of anybody active; None where there is
        none.
        """
        horizon = monotonic() - LINGER
        self._left = {session: since for session, since in self._left.items() if since > horizon}
        active = {*self._waiting, *self._served, *self._left}
        for session in self._waiting:
            _keep(self._used, session, max(self._seconds(session), self._least))
        self._least = min(map(self._seconds, active), default=self._least)
        return next(
            (
                session
                for session in self._waiting
                if session not in self._served and self._seconds(session) <= self._least + SLACK
            ),
            None,
        )

    def _seconds(self, session: str) -> float:
        return self._used.get(session, self._least)

    def _take(self, session: str) -> _Request:
        lines = self._waiting[session]
        _, request = lines.popitem(last=False)
        self._served.add(session)
        self._left.pop(session, None)
        if lines:
            self._waiting.move_to_end(session)
        else:
            del self._waiting[session]
        return request


class InOrder:
    """A lock that goes to whoever has asked for it first: `threading.Lock` lets those who come just then overtake those
    who wait.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._queue: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        mine = threading.Lock()
        mine.acquire()
        with self._guard:
            self._queue.append(mine)
            first = len(self._queue) == 1
        if not first:
            mine.acquire()  # until the one before lets go

    def __exit__(self, *_: object) -> None:
        with self._guard:
            self._queue.popleft()
            if self._queue:
                self._queue[0].release()


def _run(request: _Request) -> None:
    if not request.future.set_running_or_notify_cancel():
        return
    try:
        request.future.set_result(request.call())
    except BaseException as error:  # noqa: BLE001 - whatever it is belongs to the caller, the thread lives on
        request.future.set_exception(error)


def _keep(table: OrderedDict, key: Hashable, value: Any) -> None:
    table[key] = value
    table.move_to_end(key)
    while len(table) > REMEMBERED:
        table.popitem(last=False)
