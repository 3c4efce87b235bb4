"""The mean of the learners' probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from fusionlib.contracts import FUSIONS, Fusion


@FUSIONS.register("average")
@dataclass(frozen=True)
class Average(Fusion):
    """`log (1/L sum_i softmax(X_i))`, found as `logsumexp_i log softmax(X_i) - log L`, where nothing underflows."""

    title = "Average"
    summary = "Mean of the learners' probabilities"
    citation = '"Efficient Self-Ensemble for Semantic Segmentation", Eq. 3'

    def fuse(self, logits: Tensor, numbers: Sequence[int], attention: nn.Module | None) -> Tensor:
        """As declared."""
        return logits.log_softmax(2).logsumexp(0) - math.log(len(logits))
