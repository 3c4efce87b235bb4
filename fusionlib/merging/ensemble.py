"""The output ensemble as a mixture: all networks are kept and their answers combined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fusionlib.checkpoints.arena import Arena
from fusionlib.contracts import METHODS, MergeMethod, Mixture, parameter
from fusionlib.merging.average import check_shares, fold_order
from fusionlib.merging.choices import RULES


@METHODS.register("ensemble")
@dataclass(frozen=True)
class Ensemble(MergeMethod):
    """M networks with coefficients 1/M, or `weights`; `p = sum_i w_i softmax(f_i)` with the rule softmax.

    Its cost is M forward passes, a merge's one.

    No single set of weights is equal to it, so it cannot be exported as one checkpoint, and every member keeps its own
    running statistics whatever the buffer policy is. Breaks endpoints and unweighted: there is no alpha.

    Source: Lakshminarayanan et al. 2017, section 2.4; the layer-wise paper's baseline `sum f / M`, which does not say
    whether f are logits or probabilities. Product and majority: "Efficient Self-Ensemble for Semantic Segmentation",
    Eq. 4 and 5.
    """

    title: ClassVar[str] = "Output ensemble"
    summary: ClassVar[str] = "All networks run and their answers are combined: M forward passes"
    citation: ClassVar[str] = "Lakshminarayanan et al. 2017; Efficient Self-Ensemble, Eq. 3 to 5"
    breaks: ClassVar[frozenset[str]] = frozenset({"endpoints", "unweighted"})
    keeps_statistics: ClassVar[bool] = True
    whole_checkpoints: ClassVar[bool] = True
    averages: ClassVar[bool] = False

    rule: str = parameter("softmax", "; ".join(f"{name}: {what}" for name, what in RULES.items()), choices=tuple(RULES))
    weights: tuple[float, ...] = parameter((), "One weight per checkpoint, summing to 1; none: all equal")

    def shares(self, count: int) -> tuple[float, ...]:
        """1/M each, or the weights. Raises `UsageError` where they do not fit."""
        return check_shares(self.weights, count) if self.weights else (1 / count,) * count

    def networks(self, count: int) -> int:
        """All of them."""
        return count

    def __call__(self, arena: Arena, out: Tensor | None = None) -> Mixture:
        order = fold_order(arena.fingerprints, self.shares(len(arena)))
        shares = torch.tensor([share for _, share in order])
        return Mixture(arena.weights[[number for number, _ in order]], shares, rule=self.rule)
