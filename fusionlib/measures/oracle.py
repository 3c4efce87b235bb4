"""Oracle test: the best that any pixel-wise choice among the networks could reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from fusionlib.contracts import IGNORE, MEASURES, Figure, Grain, Needs, Networks, State
from fusionlib.measures.confusion import count_pairs, mean_iou, pixel_accuracy
from fusionlib.measures.observation import Observation


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
    """The same for tensors of one type on any device; a new tensor."""
    right = predictions[0] == truth
    for other in predictions[1:]:
        right = right | (other == truth)
    return torch.where(right & (truth != IGNORE), truth, predictions[0])


class Oracle:
    """Confusion matrix of the oracle of a pair or a set: the first network is the one whose errors stay.

    State: `matrix` (C, C + 1) int64, `[truth][prediction]` as the confusion matrix of a network.
    """

    title: ClassVar[str] = "Oracle test"
    summary: ClassVar[str] = (
        "mIoU if every pixel took the label of whichever network is right: how differently they err"
    )
    source: ClassVar[str] = "Weight Fusion, section 2, Listing 1; where all are wrong the first network's error stays"
    version: ClassVar[int] = 1
    needs: ClassVar[Needs] = "masks"
    networks: ClassVar[Networks] = "set"
    grain: ClassVar[Grain] = "picture"
    always: ClassVar[bool] = False
    reads: ClassVar[frozenset[str]] = frozenset()
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure("oracle_miou", "Oracle mIoU", "%", "higher", 2, "mIoU of the best choice at every pixel"),
        Figure("oracle_pixel_accuracy", "Oracle pixel accuracy", "%", "higher", 2, "Pixels that any network has right"),
    )

    def init(self, classes: int, device: torch.device, members: int = 2) -> State:
        """Zeros for `classes` classes."""
        return {"matrix": torch.zeros(classes, classes + 1, dtype=torch.int64, device=device)}

    def update(self, state: State, *observations: Observation) -> None:
        """Add what the networks see of the same pixels. Raises `DataError` when the truth has an unknown id."""
        self.add(state, [one.predicted_bytes for one in observations], observations[0].truth)

    def add(self, state: State, predictions: Sequence[torch.Tensor], truth: torch.Tensor) -> None:
        """Add label maps (N, H, W) of all networks, ids from 0 to `classes` (outside), and the truth (N, H, W)."""
        state["matrix"] += count_pairs(truth, oracle_labels(predictions, truth), len(state["matrix"]))

    def compute(self, state: State) -> dict[str, Any]:
        """`oracle_miou` and `oracle_pixel_accuracy`, None without labelled pixels."""
        matrix = state["matrix"]
        return {"oracle_miou": mean_iou(matrix), "oracle_pixel_accuracy": pixel_accuracy(matrix)}


MEASURES.register("oracle")(Oracle())
