"""One backbone for all, each domain with its own head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fusionlib.checkpoints.arena import Arena
from fusionlib.contracts import METHODS, MergeMethod, Mixture, Shares, parameter
from fusionlib.merging.buffers import anchor_of
from fusionlib.merging.slices import clear_gaps, merge_slices, parts_of


@METHODS.register("backbone")
@dataclass(frozen=True)
class Backbone(MergeMethod):
    """`theta = mean_i theta_i` in the backbone; in the head `theta = theta_a`, the anchor's, with its own running
    statistics.

    Used once per checkpoint as the anchor, this gives one network per domain on a common backbone. Heads may differ in
    class count or kind: what is not shared is the anchor's anyway.

    Source: "Training-Free Model Merging for Multi-target Domain Adaptation", separate heads. Breaks endpoints and
    unweighted: there is no alpha.
    """

    title: ClassVar[str] = "Backbone only"
    summary: ClassVar[str] = "The mean of all backbones under the anchor's own head; one result per checkpoint"
    citation: ClassVar[str] = "Training-Free Model Merging for MTDA, separate heads"
    breaks: ClassVar[frozenset[str]] = frozenset({"endpoints", "unweighted"})
    tensorwise: ClassVar[bool] = True
    takes_unlike: ClassVar[bool] = True
    for_each_anchor: ClassVar[bool] = True

    anchor: int = parameter(
        0, "Number of the checkpoint whose head is kept, from 0", min=0, max=63, step=1, checkpoint=True
    )

    def shares(self, count: int) -> Shares:
        """1/M each: what the backbone has."""
        return (1 / count,) * count

    def tensor_shares(self, arena: Arena) -> dict[str, Shares]:
        """K weights by tensor name. Raises `UsageError` where no head or no backbone is known."""
        anchor, count = anchor_of(self, len(arena)), len(arena)
        alone = tuple(float(number == anchor) for number in range(count))
        return {name: alone if part == "head" else self.shares(count) for name, part in parts_of(arena).items()}

    def __call__(self, arena: Arena, out: Tensor | None = None) -> Mixture:
        out = torch.empty_like(arena.weights[0]) if out is None else out
        clear_gaps(arena.layout, out)
        merge_slices(arena, self.tensor_shares(arena), out)
        return Mixture(out[None], torch.ones(1))
