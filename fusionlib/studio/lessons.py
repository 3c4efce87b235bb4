"""Weights that searches have learned, kept beside the statistics of checkpoints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from fusionlib.candidate import Candidate, Learned, Learning, equal
from fusionlib.checkpoints.arena import Arena
from fusionlib.contracts import Progress
from fusionlib.data.cache import DecodedCache
from fusionlib.engine.identity import architecture_key
from fusionlib.engine.network import BoundNetwork
from fusionlib.engine.statistics import content
from fusionlib.lab.soup import VERSION, Lesson, refuse_other_sizes
from fusionlib.recipe import Source
from fusionlib.runs.runner import Runner
from fusionlib.studies.candidates import Networks


class Lessons:
    """What can be learned of some checkpoints on some pictures: once, and found again by content."""

    def __init__(self, runner: Runner, sources: Sequence[Source], pictures: DecodedCache) -> None:
        self._runner, self._merger, self._pictures = runner, runner.builder.merger, pictures
        self._mean = Networks(tuple(sources)).recipe(equal(range(len(sources)), len(sources)))

    def known(self, wish: Learning) -> Learned | None:
        """What was learned before."""
        store = self._merger.statistics
        table = None if store is None else store.get(self._key(wish)[0])
        return None if table is None else _read(table, self._arena, wish)

    def learn(self, wish: Learning, progress: Progress, *, fresh: bool = False) -> Learned:
        """The same, learned where it is not known, or with `fresh` in any case; kept once it is whole.

        Progress is in forward passes' worth of work and may raise `Cancelled`: it begins anew the next time.
        """
        tally = self._runner.tally
        found = None if fresh else self.known(wish)
        if found is not None:
            tally.known += found.passes
            return found
        refuse_other_sizes(self._pictures)
        arena, known = self._arena, self._merger.network(self._mean)
        network = BoundNetwork(*known, arena.layout, arena.integers[0], device=self._merger.device)
        lesson = Lesson(arena, network, self._pictures, wish)
        before = 0

        def along(done: int, whole: int) -> None:
            nonlocal before
            tally.run += done - before
            before = done
            progress(done, whole)

        found = lesson.learn(self._runner.worker.run, along)
        self._pictures.verify()
        if (store := self._merger.statistics) is not None:
            key, about = self._key(wish)
            store.put(key, _table(found), about)
        return found

    @property
    def _arena(self) -> Arena:
        return self._merger.arena(self._mean, 0)

    def _key(self, wish: Learning) -> tuple[str, dict[str, Any]]:
        """Under what it lies, and all that decides it, as JSON values."""
        arena = self._arena
        about = {
            "learned": asdict(wish),
            "version": VERSION,
            "checkpoints": [content(arena, number) for number in range(len(arena))],
            "layout": arena.layout.signature,
            "network": architecture_key(*self._merger.network(self._mean)),
            "data": self._pictures.fingerprint(),
            "device": arena.weights.device.type,
            "torch": version("torch"),
        }
        text = json.dumps(about, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest(), about


def _table(found: Learned) -> dict[str, Tensor]:
    rows = [found.candidate.weights, *(row for _, row in found.candidate.units)]
    return {
        "weights": torch.tensor(rows, dtype=torch.float64),
        "beta": torch.tensor([found.beta], dtype=torch.float64),
        "losses": torch.tensor(found.losses, dtype=torch.float64),
        "passes": torch.tensor([found.passes]),
    }


def _read(table: Mapping[str, Tensor], arena: Arena, wish: Learning) -> Learned | None:
    """What was kept; None where somebody has damaged it."""
    names = [entry.name for entry in arena.layout.entries if entry.kind != "buffer"] if wish.by_tensor else []
    weights = table.get("weights")
    whole = all(name in table for name in ("beta", "losses", "passes"))
    if weights is None or not whole or weights.shape != (1 + len(names), len(arena)):
        return None
    if not bool((weights.sum(1) - 1).abs().max() < 1e-6) or bool((weights < 0).any()):
        return None
    rows = [tuple(map(float, row)) for row in weights]
    units = tuple(zip(names, rows[1:], strict=True))
    candidate = Candidate(rows[0], units, "tensor" if names else "")
    return Learned(candidate, float(table["beta"]), tuple(map(float, table["losses"])), int(table["passes"]))
