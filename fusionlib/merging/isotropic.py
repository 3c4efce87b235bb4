"""Isotropic merging: the plain mean of all checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fusionlib.checkpoints.arena import Arena
from fusionlib.contracts import METHODS, MergeMethod, Mixture
from fusionlib.merging.average import average_rows


@METHODS.register("isotropic")
@dataclass(frozen=True)
class Isotropic(MergeMethod):
    """`theta = 1/M sum_i theta_i`, every checkpoint alike; no hyper-parameters.

    Source: the baseline of the layer-wise and the buffer-merging papers; "Model soups" (Wortsman et al. 2022) calls it
    the uniform soup. Breaks endpoints and unweighted: there is no alpha.
    """

    title: ClassVar[str] = "Isotropic"
    summary: ClassVar[str] = "The mean of all checkpoints, each with weight 1/M"
    citation: ClassVar[str] = "Layer-wise Model Merging for UDA, baseline; Wortsman et al. 2022 (uniform soup)"
    breaks: ClassVar[frozenset[str]] = frozenset({"endpoints", "unweighted"})
    streams: ClassVar[bool] = True
    on_subsets: ClassVar[bool] = True

    def shares(self, count: int) -> tuple[float, ...]:
        """1/M each."""
        return (1 / count,) * count

    def __call__(self, arena: Arena, out: Tensor | None = None) -> Mixture:
        out = torch.empty_like(arena.weights[0]) if out is None else out
        average_rows(arena, self.shares(len(arena)), out)
        return Mixture(out[None], torch.ones(1))
