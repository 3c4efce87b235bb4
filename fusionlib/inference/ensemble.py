"""Several networks that answer as one by averaging what they say: the rival that costs a forward pass each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fusionlib.inference.network import Network
from fusionlib.merging.average import check_shares


class OutputEnsemble:
    """`log sum_i w_i softmax(z_i)`: the logarithm of the averaged probabilities, whose softmax is that average again.

    `networks` have the same classes; `shares` sum to 1, and a network of share 0 is not run. Source: Lakshminarayanan et al. 2017
    ("Simple and Scalable Predictive Uncertainty Estimation"), section 2.4, with equal shares there.
    """

    def __init__(self, networks: Sequence[Network], shares: Sequence[float]) -> None:
        shares = check_shares(tuple(shares), len(networks))
        self.members = [(network, share) for network, share in zip(networks, shares, strict=True) if share > 0]
        self.device = networks[0].device

    def logits(self, images: np.ndarray, size: tuple[int, int] | None = None) -> Tensor:
        """Pictures (N, H, W, 3) uint8 -> log-probabilities (N, C, h, w) float32, each member's logits resized before its softmax."""
        with torch.inference_mode():
            total: Tensor | None = None
            for network, share in self.members:
                part = network.logits(images, size).softmax(1).mul_(share)
                total = part if total is None else total.add_(part)
            assert total is not None  # shares sum to 1, so one of them is above 0
            # A probability that underflowed stays a number: -inf would make a neighbour's difference NaN.
            return total.clamp_(min=torch.finfo(total.dtype).tiny).log_()
