"""Several networks that answer as one by averaging what they say: the rival that costs a forward pass each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from fusionlib.engine.network import Network
from fusionlib.errors import UsageError
from fusionlib.merging.average import check_shares, fold_order
from fusionlib.merging.choices import RULES


class OutputEnsemble:
    """By the rule `softmax`, `log sum_i w_i softmax(z_i)`: the logarithm of the averaged probabilities, whose softmax
    is that average.

    `logit` is `sum_i w_i z_i`; `product` is `sum_i M w_i log softmax(z_i)`, whose softmax is the normalised product;
    `majority` is the logarithm of `sum_i w_i c_i onehot(y_i)`, every network voting for its best class y with its
    confidence c. Each member's logits are resized first. `networks` have the same classes; `shares` sum to 1, and a
    network of share 0 is not run. Outputs are summed in the order of the networks' `fingerprints`, so that the order in
    which they are named changes no bit; without, in the order given.

    Source: Lakshminarayanan et al. 2017 ("Simple and Scalable Predictive Uncertainty Estimation"), section 2.4, with
    equal shares there; product and majority: "Efficient Self-Ensemble for Semantic Segmentation", Eq. 4 and 5.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        shares: Sequence[float],
        rule: str = "softmax",
        fingerprints: Sequence[str] = (),
    ) -> None:
        shares = check_shares(tuple(shares), len(networks))
        if rule not in RULES:
            raise UsageError(f"Unknown rule {rule!r}", f"one of {', '.join(RULES)}", "Correct the rule")
        order = fold_order(fingerprints or [f"{number:03}" for number in range(len(networks))], shares)
        self.members = [(networks[number], share) for number, share in order]
        self.device, self.rule = networks[0].device, rule

    @property
    def forwards(self) -> int:
        """Forward passes a picture: what the ensemble costs where a merge costs one."""
        return len(self.members)

    def logits(self, images: np.ndarray, size: tuple[int, int] | None = None) -> Tensor:
        """Pictures (N, H, W, 3) uint8 -> what the class docstring says (N, C, h, w) float32."""
        parts = (network.logits(images, size) for network, _ in self.members)
        return combined(parts, [share for _, share in self.members], self.rule)


def combined(parts: Iterable[Tensor], shares: Sequence[float], rule: str) -> Tensor:
    """Logits of M networks (N, C, h, w) as those of one, by `rule` (see `OutputEnsemble`); M `shares` sum to 1.

    `parts` are taken one at a time, so that no more than two are held.
    """
    with torch.inference_mode():
        total: Tensor | None = None
        for logits, share in zip(parts, shares, strict=True):
            part = _part(logits, share, rule, len(shares))
            total = part if total is None else total.add_(part)
        assert total is not None  # shares sum to 1, so one of them is above 0
        if rule in ("logit", "product"):
            return total
        # A probability that underflowed stays a number: -inf would make a neighbour's difference NaN.
        return total.clamp_(min=torch.finfo(total.dtype).tiny).log_()


def _part(logits: Tensor, share: float, rule: str, count: int) -> Tensor:
    if rule == "logit":
        return logits * share
    if rule == "product":
        return logits.log_softmax(1).mul_(share * count)
    probabilities = logits.softmax(1)
    if rule == "softmax":
        return probabilities.mul_(share)
    confidence, label = probabilities.max(1, keepdim=True)
    return torch.zeros_like(probabilities).scatter_(1, label, confidence * share)
