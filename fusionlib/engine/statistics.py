"""What methods must find out before they can merge: estimated on the device, or found again by content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from fusionlib.architectures.recognise import network_of
from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.layout import COUNTER
from fusionlib.contracts import STATISTICS, MergeMethod, Progress, Statistic, Subject, Wanted
from fusionlib.data.cache import DecodedCache, unreduced
from fusionlib.engine.identity import Network, architecture_key
from fusionlib.engine.network import BoundNetwork
from fusionlib.engine.worker import Worker
from fusionlib.errors import ArchitectureError, UsageError
from fusionlib.merging.buffers import anchor_of
from fusionlib.question import Tally


class Kept(Protocol):
    """Tables by content key, from earlier processes too; `about` says in words of JSON what lies there."""

    def get(self, key: str) -> dict[str, Tensor] | None: ...

    def put(self, key: str, table: Mapping[str, Tensor], about: Mapping[str, Any]) -> None: ...


def find(
    method: MergeMethod,
    arena: Arena,
    architecture: Network | None = None,
    pictures: DecodedCache | None = None,
    count: int | None = None,
    *,
    worker: Worker,
    store: Kept | None = None,
    progress: Progress | None = None,
    tally: Tally | None = None,
) -> MergeMethod:
    """The method with all that it wants to know about `arena`; itself where that is nothing, or known to it.

    Pictures are looked at evenly spaced, `count` of them (default: all). Each table is stored as soon as it is whole.
    Progress is in forward passes' worth of work; it may raise `Cancelled`, which a picture or a sweep later ends it.
    `tally` counts the forward passes themselves, and those of tables that were found.

    Raises: `UsageError` and `ArchitectureError` where pictures or the network that runs them are wanted and not given,
    `DataError` where the pictures have changed meanwhile.
    """
    anchor_of(method, len(arena))
    known = dict(method.found or {})
    wanted = [want for want in method.wanted(len(arena)) if (want.statistic, want.members) not in known]
    if not wanted:
        return method
    found = _Finder(arena, architecture, pictures, count, worker, store, tally or Tally())
    costs = [found.cost(want) for want in wanted]
    for number, want in enumerate(wanted):
        before, total = sum(costs[:number]), sum(costs)

        def advance(done: int, _: int, before: int = before, total: int = total) -> None:
            if progress is not None:
                progress(before + done, total)

        known[want.statistic, want.members] = found.table(want, advance)
    return method.informed(known)


def recall(
    method: MergeMethod,
    arena: Arena,
    architecture: Network | None = None,
    pictures: DecodedCache | None = None,
    count: int | None = None,
    *,
    worker: Worker,
    store: Kept | None = None,
) -> MergeMethod | None:
    """The method with all that it wants to know, as far as nothing has to be looked at; None where pictures would."""
    anchor_of(method, len(arena))
    finder = _Finder(arena, architecture, pictures, count, worker, store, Tally())
    known = dict(method.found or {})
    for want in method.wanted(len(arena)):
        table = known.get((want.statistic, want.members)) or finder.recalled(want)
        if table is None:
            return None
        known[want.statistic, want.members] = table
    return method.informed(known)


def work(method: MergeMethod, checkpoints: int, pictures: int) -> int:
    """What finding out everything costs with so many checkpoints and pictures, in forward passes."""
    wanted = [STATISTICS.get(want.statistic) for want in method.wanted(checkpoints)]
    return sum(statistic.cost * pictures for statistic in wanted if statistic.needs == "pictures")


class _Finder:
    def __init__(
        self,
        arena: Arena,
        architecture: Network | None,
        pictures: DecodedCache | None,
        count: int | None,
        worker: Worker,
        store: Kept | None,
        tally: Tally,
    ) -> None:
        self.arena, self.pictures = arena, pictures
        self.architecture = architecture or network_of(arena.shapes)
        self.worker, self.store, self.tally = worker, store, tally
        self._found: dict[str, Mapping[str, Tensor]] = {}
        there = 0 if pictures is None else len(pictures)
        self.count = there if count is None else min(count, there)

    def cost(self, want: Wanted) -> int:
        """Forward passes' worth of work."""
        statistic = STATISTICS.get(want.statistic)
        return statistic.cost * self.count if statistic.needs == "pictures" else 0

    def recalled(self, want: Wanted) -> Mapping[str, Tensor] | None:
        """A table that needs no look at pictures: it is stored, or follows from weights; None for the others."""
        statistic = STATISTICS.get(want.statistic)
        if statistic.needs != "pictures":
            return self.table(want, lambda *_: None)
        return self.store.get(self._place(statistic, want)[1]) if self.store else None

    def _place(self, statistic: Statistic, want: Wanted) -> tuple[tuple[int, ...], str, dict[str, Any]]:
        """Members in their order, the key under which the table lies, and what that is about."""
        members = want.members
        if statistic.grain == "set":
            members = tuple(sorted(members, key=self.arena.fingerprints.__getitem__))
        about = self._about(statistic, want, members)
        key = hashlib.sha256(json.dumps(about, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
        return members, key, about

    def table(self, want: Wanted, advance: Progress) -> Mapping[str, Tensor]:
        """Found before, for a copy of the same checkpoint or in the store; else estimated and stored."""
        statistic = STATISTICS.get(want.statistic)
        self._check(statistic)
        members, key, about = self._place(statistic, want)
        table = self._found.get(key) or (self.store.get(key) if self.store else None)
        if table is None:
            subject = self._subject(statistic, members)
            table = statistic.estimate(subject, want.options, lambda done, _: advance(statistic.cost * done, 0))
            if statistic.needs == "pictures" and self.pictures is not None:
                self.pictures.verify()
            if self.store:
                self.store.put(key, table, about)
        elif statistic.needs == "pictures":
            self.tally.known += self.count * len(members)
        self._found[key] = table
        return table

    def _check(self, statistic: Statistic) -> None:
        if statistic.needs != "pictures":
            return
        if self.architecture is None:
            raise ArchitectureError(
                f"The {statistic.title} of an unknown architecture",
                "the network's code, to run pictures through it",
                "Give --model file.py:factory, or choose a method that needs no pictures",
            )
        if self.count < 1:
            raise UsageError(
                f"No pictures to estimate the {statistic.title} on", "at least one unlabelled picture", "Give --data"
            )

    def _about(self, statistic: Statistic, want: Wanted, members: tuple[int, ...]) -> dict[str, Any]:
        """All that decides the values, as JSON values."""
        network = self.architecture if statistic.needs != "weights" else None
        about = {
            "statistic": want.statistic,
            "version": statistic.version,
            "options": dict(want.options),
            "checkpoints": [content(self.arena, number) for number in members],
            "layout": self.arena.layout.signature,
            "network": network and architecture_key(*network),
            "device": self.arena.weights.device.type,
            "torch": version("torch"),
        }
        if statistic.needs == "pictures" and self.pictures is not None:
            about |= {"data": self.pictures.fingerprint(), "count": self.count}
        return about

    def _subject(self, statistic: Statistic, members: tuple[int, ...]) -> Subject:
        arena = self.arena.only(members)

        def network(row: int) -> BoundNetwork:
            assert self.architecture is not None
            bound = BoundNetwork(*self.architecture, arena.layout, arena.integers[row], device=arena.weights.device)
            self.worker.run(lambda: bound.load(arena.weights[row]))
            return bound

        if statistic.needs != "pictures":
            return Subject(arena, self.worker.run, network)
        return Subject(arena, self.worker.run, network, self._walk(len(members)), self.count)

    def _walk(self, members: int) -> Iterator[tuple[int, np.ndarray]]:
        """The pictures, each seen by all members."""
        assert self.pictures is not None
        for index in self.pictures.spread(self.count):
            image = unreduced(self.pictures.load(index)).image
            self.tally.run += members
            yield index, image


def content(arena: Arena, number: int) -> str:
    """SHA-256 over what checkpoint `number` is in this arena: its row, and integers other than counters.

    Not that of its file, because what it shares with others, under which names, decides what runs.
    """
    key = ("content", number)
    if key not in arena.memo:
        digest = hashlib.sha256(f"{arena.weights.dtype}".encode())
        digest.update(memoryview(arena.weights[number].cpu().numpy()))  # type: ignore[arg-type]
        for name, tensor in sorted(arena.integers[number].items()):
            if not name.endswith(COUNTER):
                digest.update(name.encode() + b"\0" + tensor.cpu().contiguous().numpy().tobytes())
        arena.memo[key] = digest.hexdigest()
    return arena.memo[key]
