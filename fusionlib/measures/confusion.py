"""Confusion matrix of a whole dataset, and the figures that follow from it."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch

from fusionlib.contracts import IGNORE, MEASURES, Figure, Grain, Needs, Networks, State
from fusionlib.errors import DataError
from fusionlib.measures.observation import Observation

Fractions = list[float | None]
"""One figure per class, None where it is undefined."""


def count_pairs(truth: torch.Tensor, predicted: torch.Tensor, classes: int) -> torch.Tensor:
    """Count (truth, prediction) pairs: whole ids of any equal shape -> (classes, classes + 1) int64.

    Every possible byte has a row, so void falls into rows of its own instead of being masked out first, and ids that
    the label space does not have are seen rather than lost. Raises `DataError` that names those.
    """
    width = classes + 1
    pairs = truth.reshape(-1).int() * width + predicted.reshape(-1)
    counts = torch.bincount(pairs, minlength=(IGNORE + 1) * width)
    if counts.numel() > (IGNORE + 1) * width or bool(counts[classes * width : IGNORE * width].any()):
        unknown = sorted(set(torch.unique(truth).tolist()) - {*range(classes), IGNORE})
        raise DataError(
            f"Annotation ids {unknown}",
            f"ids 0 to {classes - 1}, or {IGNORE} for void",
            "Correct the masks or choose the label space that they use",
        )
    return counts[: classes * width].view(classes, width)


def confusion_matrix(truth: Any, prediction: Any, classes: int, ignore: int = IGNORE) -> np.ndarray:
    """Pixels by truth and prediction: two id arrays of equal shape -> (classes, classes + 1) int64,
    `[truth][predicted]`.

    Pixels whose TRUTH is `ignore` are left out. The last column counts predictions outside `0 ... classes - 1`.
    Raises `DataError` when the shapes differ or the truth has ids that are neither a class nor `ignore`.
    """
    true, said = (torch.as_tensor(np.asarray(ids).astype(np.int64)) for ids in (truth, prediction))
    if true.shape != said.shape:
        raise DataError(f"Truth {tuple(true.shape)} and prediction {tuple(said.shape)}", "equal shapes", "Resize one")
    keep = true != ignore
    true, said = true[keep], said[keep]
    unknown = (true < 0) | (true >= classes)
    if bool(unknown.any()):
        raise DataError(
            f"Annotation ids {torch.unique(true[unknown]).tolist()}",
            f"ids 0 to {classes - 1}, or {ignore} for void",
            "Correct the masks",
        )
    outside = (said < 0) | (said >= classes)
    return count_pairs(true, said.masked_fill(outside, classes), classes).numpy()


def _parts(matrix: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True positives, truth totals and prediction totals, each (C,), of a (C, C) or (C, C + 1) matrix."""
    counts = np.asarray(matrix.cpu() if isinstance(matrix, torch.Tensor) else matrix)
    if counts.ndim != 2 or counts.shape[1] - counts.shape[0] not in (0, 1):
        raise DataError(
            f"A confusion matrix of shape {counts.shape}",
            "(C, C), or (C, C + 1) with predictions outside",
            "Check the matrix",
        )
    classes = counts.shape[0]
    return np.diagonal(counts), counts.sum(1), counts[:, :classes].sum(0)


def _ratio(top: np.ndarray, bottom: np.ndarray) -> Fractions:
    return [float(a / b) if b else None for a, b in zip(top, bottom, strict=True)]


def iou(matrix: Any) -> Fractions:
    """Intersection over union per class: TP / (TP + FP + FN); None where truth and prediction both lack the class."""
    hits, truth, predicted = _parts(matrix)
    return _ratio(hits, truth + predicted - hits)


def precision(matrix: Any) -> Fractions:
    """TP / (TP + FP) per class; None where the class is never predicted on a labelled pixel."""
    hits, _, predicted = _parts(matrix)
    return _ratio(hits, predicted)


def recall(matrix: Any) -> Fractions:
    """TP / (TP + FN) per class; None where the truth lacks the class."""
    hits, truth, _ = _parts(matrix)
    return _ratio(hits, truth)


def mean_iou(matrix: Any) -> float | None:
    """Mean IoU over the classes present in truth or prediction; None when there is none.

    A class that the truth has and the network never predicts counts 0; a class that neither has does not count.
    """
    present = [value for value in iou(matrix) if value is not None]
    return float(np.mean(present)) if present else None


def pixel_accuracy(matrix: Any) -> float | None:
    """Labelled pixels predicted right, sum_c TP_c / all; None when no pixel is labelled."""
    hits, truth, _ = _parts(matrix)
    return float(hits.sum() / truth.sum()) if truth.sum() else None


def blind_figures(matrix: Any) -> dict[str, Any] | None:
    """What a network that does not look at the pictures can reach; None where no pixel is labelled.

    With p_c the share of class c among the labelled pixels, C classes among them: `class` = argmax p, and where that
    one is said everywhere `pixel_accuracy` = max p, the most without looking, and `miou` = max p / C. Where each
    pixel's class is drawn with probability p_c the IoU of a class is p_c^2 / (2 p_c - p_c^2), so that `drawn_miou` =
    mean_c p_c / (2 - p_c).
    """
    _, truth, _ = _parts(matrix)
    if not truth.sum():
        return None
    shares = truth / truth.sum()
    present = shares[truth > 0]
    return {
        "class": int(shares.argmax()),
        "pixel_accuracy": float(shares.max()),
        "miou": float(shares.max() / len(present)),
        "drawn_miou": float((present / (2 - present)).mean()),
    }


class Confusion:
    """Counts the confusion matrix and gives mIoU, IoU, precision, recall and pixel accuracy, all as fractions.

    State: `matrix` (C, C + 1) int64, `[truth][prediction]`; the last column holds predictions outside the label space;
    `void` () int64. Counts are integers, so neither the order of the pictures nor how they are split changes anything.
    """

    title: ClassVar[str] = "IoU and accuracy"
    summary: ClassVar[str] = "How well the predicted regions lie on the annotated ones, class by class"
    source: ClassVar[str] = "PASCAL VOC and Cityscapes benchmarks: one confusion matrix over the whole dataset"
    version: ClassVar[int] = 1
    needs: ClassVar[Needs] = "masks"
    networks: ClassVar[Networks] = "one"
    grain: ClassVar[Grain] = "picture"
    always: ClassVar[bool] = True
    reads: ClassVar[frozenset[str]] = frozenset()
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure("miou", "mIoU", "%", "higher", 2, "Mean intersection over union of the classes in truth or prediction"),
        Figure("pixel_accuracy", "Pixel accuracy", "%", "higher", 2, "Labelled pixels predicted right"),
        Figure("iou", "IoU", "%", "higher", 2, "Intersection of truth and prediction over their union", "class"),
        Figure("precision", "Precision", "%", "higher", 2, "Pixels predicted as the class that are of it", "class"),
        Figure("recall", "Recall", "%", "higher", 2, "Pixels of the class that are predicted as it", "class"),
        Figure("support", "Support", "pixels", "", 0, "Labelled pixels of the class", "class"),
    )

    def init(self, classes: int, device: torch.device, members: int = 1) -> State:
        """Zeros for `classes` classes."""
        return {
            "matrix": torch.zeros(classes, classes + 1, dtype=torch.int64, device=device),
            "void": torch.zeros((), dtype=torch.int64, device=device),
        }

    def update(self, state: State, *observations: Observation) -> None:
        """Add the labelled pixels. Raises `DataError` when the truth has an unknown id."""
        (observation,) = observations
        counts = count_pairs(observation.truth, observation.predicted_bytes, observation.classes)
        state["matrix"] += counts
        state["void"] += observation.truth.numel() - counts.sum()

    def compute(self, state: State) -> dict[str, Any]:
        """`miou`, `pixel_accuracy`; `iou`, `precision`, `recall`, `support` (pixels) per class; `pixels` (labelled),
        `outside` (of them) and `void` (beside them); `blind` (`blind_figures`).
        """
        matrix = state["matrix"].cpu().numpy()
        return {
            "miou": mean_iou(matrix),
            "pixel_accuracy": pixel_accuracy(matrix),
            "iou": iou(matrix),
            "precision": precision(matrix),
            "recall": recall(matrix),
            "pixels": int(matrix.sum()),
            "support": matrix.sum(1).tolist(),
            "outside": int(matrix[:, -1].sum()),
            "void": int(state["void"]),
            "blind": blind_figures(matrix),
        }


MEASURES.register("confusion")(Confusion())
