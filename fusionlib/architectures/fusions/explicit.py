"""A mask for each learner, and the logits weighted by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fusionlib.architectures.fusions.masks import mask_of_logits
from fusionlib.contracts import FUSIONS, Fusion


@FUSIONS.register("explicit")
@dataclass(frozen=True)
class Explicit(Fusion):
    """`sum_i a_i X_i` with `a = softmax_i m_i(X_i)`: L modules, a dense mask each, on logits.

    How masks are normalised is not stated. They are by a softmax over the learners here, in place of the sigmoid: they
    sum to 1 at every pixel, whichever learners take part.
    """

    title = "Explicit attention"
    summary = "Logits weighted by a trained mask for each learner; masks sum to 1"
    citation = (
        '"Efficient Self-Ensemble for Semantic Segmentation", section 3.2; Chen et al. 2016 (Attention to Scale),'
        " section 3.2"
    )
    trained = True

    def attention(self, learners: int, classes: int) -> nn.ModuleList:
        """One module a learner."""
        return nn.ModuleList(mask_of_logits(classes) for _ in range(learners))

    def masks(self, logits: Tensor, numbers: Sequence[int], attention: nn.Module) -> Tensor:
        """Shares (L, N, 1, h, w) of the learners at each pixel."""
        modules = list(attention.children())
        return torch.stack([modules[number](one) for number, one in zip(numbers, logits, strict=True)]).softmax(0)

    def fuse(self, logits: Tensor, numbers: Sequence[int], attention: nn.Module | None) -> Tensor:
        """As declared."""
        assert attention is not None  # what is trained is not called without
        return (self.masks(logits, numbers, attention) * logits).sum(0).log_softmax(1)
