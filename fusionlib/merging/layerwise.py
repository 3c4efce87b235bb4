"""Layer-wise merging: near the input all checkpoints alike, towards the output more and more the anchor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import ClassVar

import torch
from torch import Tensor

from fusionlib.checkpoints.arena import Arena
from fusionlib.checkpoints.layout import Entry
from fusionlib.checkpoints.sharing import unmatched
from fusionlib.contracts import METHODS, MergeMethod, Mixture, Shares, parameter
from fusionlib.errors import UsageError
from fusionlib.merging.buffers import anchor_of
from fusionlib.merging.slices import clear_gaps, merge_slices, unit_of

RAMPS = ("tensor", "module", "block")


@METHODS.register("layerwise")
@dataclass(frozen=True)
class Layerwise(MergeMethod):
    """`H_i^(j) = (Np - j) / (Np M)` for i != a, `H_a^(j) = 1 - (M - 1) (Np - j) / (Np M)`; `theta^(j) = sum_i H_i^(j)
    theta_i^(j)`.

    j = 1 ... Np are the shared floating tensors in the order in which the anchor a registers them; other tensors are
    the anchor's. With defaults `H_a - H_i = j / Np > 0`: the anchor is strictly heaviest everywhere and alone at j =
    Np.

    General form, for the figures of the paper: before the start layer s every tensor has the first weights; from there
    they ramp, `H_i^(j) = f (N - k) / N` with `k = j - s + 1`, `N = Np - s + 1`, and f the weight of the others at the
    start of the ramp, 1/M where `first_weight` (the anchor's) is not given. `j_offset` 0 counts from k = 0: the first
    tensor is then exactly uniform and the anchor no longer strictly heaviest.

    Source: "Layer-wise Model Merging for Unsupervised Domain Adaptation in Segmentation Tasks", section on layer-wise
    merging, Fig. 5. The paper prints H for i != a only; the anchor's follows from the sum of one. Running statistics
    take part and count (its Fig. 2); batch counters, which are integers, do not. Breaks endpoints and unweighted: there
    is no alpha.
    """

    title: ClassVar[str] = "Layer-wise"
    summary: ClassVar[str] = "Uniform at the first tensor, the anchor alone at the last, a straight ramp between"
    citation: ClassVar[str] = "Layer-wise Model Merging for UDA, H with anchor, Fig. 5"
    breaks: ClassVar[frozenset[str]] = frozenset({"endpoints", "unweighted"})
    tensorwise: ClassVar[bool] = True
    takes_unlike: ClassVar[bool] = True
    on_subsets: ClassVar[bool] = True

    anchor: int = parameter(
        0, "Number of the checkpoint that dominates towards the output, from 0", min=0, max=63, step=1, checkpoint=True
    )
    start: int = parameter(
        1, "Layer at which the ramp starts; before it the first weights hold", min=1, max=100000, step=1
    )
    first_weight: float = parameter(
        0.0, "Weight of the anchor where the ramp starts; 0 means 1/M", min=0.0, max=1.0, step=0.05
    )
    granularity: str = parameter("tensor", "What gets an index j of its own", choices=RAMPS)
    exclude: str = parameter("", "Pattern of names that stay the anchor's, as head.*; several separated by commas")
    j_offset: int = parameter(1, "j of the first layer: 1 as in the paper, 0 for exactly uniform", min=0, max=1, step=1)

    def shares(self, count: int) -> Shares:
        """The mean over the ramp, about: `f / 2` for each other checkpoint, the rest for the anchor."""
        other = self._first(count) / 2
        return tuple(1 - (count - 1) * other if number == self.anchor else other for number in range(count))

    def tensor_shares(self, arena: Arena) -> Mapping[str, Shares]:
        """K weights by tensor name. Raises `UsageError` for an anchor or a start that is not there."""
        anchor, count = anchor_of(self, len(arena)), len(arena)
        alone = tuple(float(number == anchor) for number in range(count))
        entries = [arena.layout.by_name[name] for name in arena.in_order]
        taking_part = [entry for entry in entries if entry.name not in arena.own and not self._excluded(entry.name)]
        layers = _layers(taking_part, self.granularity)
        if not layers or self.start > len(layers):
            raise UsageError(
                f"Start layer {self.start} of {len(layers)}", f"1 to {len(layers)}", "Correct start or exclude"
            )
        table = {entry.name: alone for entry in entries}
        for number, members in enumerate(layers, start=1):
            other = self._other(number, len(layers), count)
            row = tuple(1 - (count - 1) * other if index == anchor else other for index in range(count))
            table |= {entry.name: row for entry in members}
        return table

    def _other(self, number: int, layers: int, count: int) -> float:
        length = layers - self.start + 1
        k = max(number - self.start, 0) + self.j_offset if number >= self.start else 0
        return self._first(count) * (length - min(k, length)) / length

    def _first(self, count: int) -> float:
        if self.first_weight and count > 1:
            return (1 - self.first_weight) / (count - 1)
        return 1 / count

    @property
    def _patterns(self) -> tuple[str, ...]:
        return tuple(pattern.strip() for pattern in self.exclude.split(",") if pattern.strip())

    def _excluded(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self._patterns)

    def __call__(self, arena: Arena, out: Tensor | None = None) -> Mixture:
        out = torch.empty_like(arena.weights[0]) if out is None else out
        clear_gaps(arena.layout, out)
        merge_slices(arena, self.tensor_shares(arena), out)
        idle = tuple(
            f"pattern {pattern} matches no tensor" for pattern in unmatched(self._patterns, arena.layout.by_name)
        )
        return Mixture(out[None], torch.ones(1), (*arena.notes, *idle))


def _layers(entries: list[Entry], granularity: str) -> list[list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(unit_of(entry, granularity), []).append(entry)
    return list(found.values())
