"""Each learner votes for its best class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fusionlib.contracts import FUSIONS, Fusion, parameter

VOTES = ("confidence", "heads")


@FUSIONS.register("majority")
@dataclass(frozen=True)
class Majority(Fusion):
    """`log (v / sum_c v_c)` with `v = 1/L sum_i w_i onehot(argmax X_i)`.

    The vote of Equation 5 carries its confidence, `w_i = max softmax(X_i)`, so that one sure learner may outvote two
    unsure ones; with `votes=heads` every w is 1. That equation leaves v as it is, which sums to less than 1: here it is
    a distribution, and no label changes. A class without a vote has the smallest probability that float32 has, where
    its logarithm would not be finite.
    """

    title = "Majority vote"
    summary = "Each learner votes for its best class, with its confidence or as one head"
    citation = '"Efficient Self-Ensemble for Semantic Segmentation", Eq. 5'

    votes: str = parameter("confidence", "What a vote counts: the learner's confidence, or one", choices=VOTES)

    def fuse(self, logits: Tensor, numbers: Sequence[int], attention: nn.Module | None) -> Tensor:
        """As declared."""
        confidence, label = logits.softmax(2).max(2, keepdim=True)
        weight = confidence if self.votes == "confidence" else torch.ones_like(confidence)
        votes = torch.zeros_like(logits, dtype=torch.float32).scatter_(2, label, weight.float()).sum(0)
        return (votes / votes.sum(1, keepdim=True)).clamp(min=torch.finfo(torch.float32).tiny).log()
