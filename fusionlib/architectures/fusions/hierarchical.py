"""From the finest learner to the coarsest, each laid over what is there where its mask says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from fusionlib.architectures.fusions.masks import mask_of_logits
from fusionlib.contracts import FUSIONS, Fusion


@FUSIONS.register("hierarchical")
@dataclass(frozen=True)
class Hierarchical(Fusion):
    """`F = X_1`, then for i = 2 ... L `F = a_i X_i + (1 - a_i) F`, with `a_i` the sigmoid of a map predicted from X_i.

    On logits, from fine to coarse, L - 1 modules. The paper gives no formula and no order; this is the relative
    attention of the method that it borrows, whose lower scale predicts the mask. Of some learners alone the first is
    where it begins, and its own module is not asked.
    """

    title = "Hierarchical attention"
    summary = "Each coarser learner is laid over the finer ones where its trained mask says so"
    citation = (
        '"Efficient Self-Ensemble for Semantic Segmentation", section 3.2;'
        " Tao et al. 2020 (hierarchical multi-scale attention), section 3.1"
    )
    trained = True

    def attention(self, learners: int, classes: int) -> nn.ModuleList:
        """One module for every learner but the first."""
        return nn.ModuleList(mask_of_logits(classes) for _ in range(learners - 1))

    def fuse(self, logits: Tensor, numbers: Sequence[int], attention: nn.Module | None) -> Tensor:
        """As declared."""
        masks = list(attention.children()) if attention is not None else []
        fused = logits[0]
        for number, answer in zip(numbers[1:], logits[1:], strict=True):
            share = masks[number - 1](answer).sigmoid()
            fused = share * answer + (1 - share) * fused
        return fused.log_softmax(1)
