"""The product of the learners' probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from fusionlib.contracts import FUSIONS, Fusion


@FUSIONS.register("product")
@dataclass(frozen=True)
class Product(Fusion):
    """`log softmax(sum_i log softmax(X_i))`: the product of L distributions, made one again.

    The paper leaves it unnormalised, which changes no label, but loss and calibration would have no meaning.
    """

    title = "Product"
    summary = "Product of the learners' probabilities, normalised: who is sure counts more"
    citation = '"Efficient Self-Ensemble for Semantic Segmentation", Eq. 4'

    def fuse(self, logits: Tensor, numbers: Sequence[int], attention: nn.Module | None) -> Tensor:
        """As declared."""
        return logits.log_softmax(2).sum(0).log_softmax(1)
