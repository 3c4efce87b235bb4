"""Outputs of a network in the classes of other data: a start goes on with the classes that it has."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fusionlib.data.labels import NO_COUNTERPART

LOWEST_LOGIT = -1e4
"""Of a class that no output counts as: a softmax makes it 0, and the loss of a mask that has it stays finite."""


class Counterparts:
    """`log sum_c exp z_c` over the outputs c that count as one class, so that softmax adds up their probabilities.

    `classes` (C,) int says as which class of the data each output counts. Outputs that count as none are one more
    class, the last, which no mask has: the network learns not to say them.
    """

    def __init__(self, classes: np.ndarray, count: int) -> None:
        ids = torch.from_numpy(np.asarray(classes).astype(np.int64))
        groups = [ids == number for number in range(count)] + [ids == NO_COUNTERPART]
        self._places = [torch.nonzero(one).flatten() for one in groups]

    def of(self, logits: Tensor) -> Tensor:
        """Logits (N, C, h, w) of the network -> (N, K + 1, h, w) of the K classes of the data and of none."""
        floor = logits.new_full((len(logits), *logits.shape[2:]), LOWEST_LOGIT)
        places = (one.to(logits.device) for one in self._places)
        return torch.stack([logits[:, one].logsumexp(1) if len(one) else floor for one in places], 1)
