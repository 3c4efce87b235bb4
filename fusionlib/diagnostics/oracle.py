"""Oracle test: the best that any pixel-wise choice among the networks could reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fusionlib.contracts import DIAGNOSTICS, IGNORE, Diagnostic


def oracle(predictions: Sequence[Any], truth: Any) -> np.ndarray:
    """Labels that follow whichever network is right: M label maps and a truth of equal shape -> a label map, the inputs
    untouched.

    A pixel takes the true class where ANY network says it. Pixels that all get wrong keep the FIRST network's error, so
    the score by class depends on the order of the networks; pixel accuracy does not, and is at least every member's.
    Void pixels of the truth keep the first network's label, and metrics leave them out.

    Source: Weight Fusion, section 2 and Listing 1 (which overwrites its first input).
    """
    labels, true = np.array(predictions[0], copy=True), np.asarray(truth)
    for other in predictions[1:]:
        right = np.asarray(other) == true
        labels[right] = true[right]
    return labels


def oracle_labels(predictions: Sequence[torch.Tensor], truth: torch.Tensor) -> torch.Tensor:
    """The same for int64 tensors on any device; a new tensor."""
    right = predictions[0] == truth
    for other in predictions[1:]:
        right = right | (other == truth)
    return torch.where(right & (truth != IGNORE), truth, predictions[0])


class OracleMeter:
    """Confusion matrices of oracles, streamed: one for each group of networks, `[truth][prediction]` as the confusion
    meter's.

    `groups` lists the networks of each oracle by number; the first of each is the one whose errors stay. Counts are
    int64: states add, and neither the order of the pictures nor how they are split changes anything.
    """

    version = 1

    def __init__(self, groups: Sequence[Sequence[int]], classes: int, device: torch.device | str = "cpu") -> None:
        self.groups = tuple(tuple(group) for group in groups)
        self.classes = classes
        self.matrices = torch.zeros(len(self.groups), classes, classes + 1, dtype=torch.int64, device=device)

    def update(self, predictions: Sequence[torch.Tensor], truth: torch.Tensor) -> None:
        """Add a batch: label maps (N, H, W) int64 of all networks, ids from 0 to `classes` (= outside), and truth (N,
        H, W) int64.
        """
        width = self.classes + 1
        for matrix, group in zip(self.matrices, self.groups, strict=True):
            labels = oracle_labels([predictions[number] for number in group], truth)
            pairs = torch.bincount((truth * width + labels).reshape(-1), minlength=(IGNORE + 1) * width)
            matrix += pairs[: self.classes * width].view(self.classes, width)

    def merge(self, other: OracleMeter) -> None:
        """Add what another meter of the same groups has counted."""
        self.matrices += other.matrices


DIAGNOSTICS.register("oracle")(
    Diagnostic(
        "Oracle test",
        "mIoU if every pixel took the label of whichever network is right: how differently they err",
        "Weight Fusion, section 2, Listing 1; pixels that all get wrong keep the first network's error",
        "masks",
        oracle,
    )
)
