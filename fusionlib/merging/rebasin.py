"""Git Re-Basin: bring the hidden units of all checkpoints into the anchor's order, then average."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from fusionlib.architectures.recognise import permutations_of
from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.permuting import Moves, checked, permuted
from fusionlib.contracts import METHODS, MergeMethod, Mixture, parameter
from fusionlib.merging.average import average_rows
from fusionlib.merging.buffers import anchor_of


@METHODS.register("rebasin")
@dataclass(frozen=True)
class Rebasin(MergeMethod):
    """`theta = alpha theta_a + (1 - alpha) mean_i pi_i(theta_i)`, pi_i the order of hidden units with the largest
    `<theta_a, pi(theta_i)>`.

    How the orders are found: `fusionlib.statistics.permutation`. Running statistics move with their units.

    Source: Ainsworth, Hayase and Srinivasa 2023, "Git Re-Basin", Algorithm 1. Deviation for more than two: every
    checkpoint is matched to the anchor once, where the paper's MergeMany matches each to the mean of the others again
    and again. Breaks endpoints: at alpha 0 the second checkpoint comes back with its units in the anchor's order, the
    same function in other bytes.
    """

    title: ClassVar[str] = "Git Re-Basin"
    summary: ClassVar[str] = "Hidden units are matched to the anchor's by their weights, then averaged"
    citation: ClassVar[str] = "Ainsworth et al. 2023, Git Re-Basin, Algorithm 1 (weight matching)"
    breaks: ClassVar[frozenset[str]] = frozenset({"endpoints"})
    needs: ClassVar = "architecture"
    statistics: ClassVar[tuple[str, ...]] = ("permutation",)
    averages: ClassVar[bool] = False

    anchor: int = parameter(
        0, "Number of the checkpoint whose order of units is kept, from 0", min=0, max=63, step=1, checkpoint=True
    )
    alpha: float = parameter(
        -1.0, "Weight of the anchor, the others share the rest; -1 means 1/M", min=-1.0, max=1.0, step=0.05
    )
    restarts: int = parameter(3, "Visiting orders that are tried", min=1, max=100, step=1)
    seed: int = parameter(0, "Seed of the visiting orders", min=0, max=2**31 - 1, step=1)

    def shares(self, count: int) -> tuple[float, ...]:
        """Alpha for the anchor, the rest in equal parts."""
        if count == 1 or self.alpha < 0:
            return (1 / count,) * count
        return tuple(self.alpha if number == self.anchor else (1 - self.alpha) / (count - 1) for number in range(count))

    def aligned(self, arena: Arena) -> Arena:
        """The arena with the units of all checkpoints that have a weight in the anchor's order; `notes` say how many
        moved.

        Raises: `UsageError` where the orders are not known, `ArchitectureError` for a network without permutations.
        """
        anchor = anchor_of(self, len(arena))
        numbers = tuple(want.members[1] for want in self.wanted(len(arena)))
        key = ("rebasin", anchor, self.restarts, self.seed, numbers)
        if key not in arena.memo:
            arena.memo[key] = self._matched(arena, anchor, numbers)
        return arena.memo[key]

    def _matched(self, arena: Arena, anchor: int, numbers: tuple[int, ...]) -> Arena:
        permutations = checked(arena, permutations_of(arena.shapes))
        weights, prints, notes = arena.weights.clone(), list(arena.fingerprints), []
        for number in numbers:
            table = self.table("permutation", anchor, number)
            orders = [table[item.name] for item in permutations]
            weights[number] = permuted(arena.layout, permutations, orders, arena.weights[number])
            moves = Moves.of(orders)
            notes.append(f"{arena.names[number]}: {moves.text}")
            if moves.units:  # what did not move is the same checkpoint still
                text = (
                    f"{prints[number]} matched to {arena.fingerprints[anchor]}, {self.restarts} orders, seed"
                    f" {self.seed}"
                )
                prints[number] = hashlib.sha256(text.encode()).hexdigest()
        return replace(arena, weights=weights, fingerprints=tuple(prints), notes=tuple(notes))

    def __call__(self, arena: Arena, out: Tensor | None = None) -> Mixture:
        aligned = self.aligned(arena)
        out = torch.empty_like(arena.weights[0]) if out is None else out
        average_rows(aligned, self.shares(len(arena)), out)
        return Mixture(out[None], torch.ones(1), aligned.notes)
