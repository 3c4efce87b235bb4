"""Measures: streamed over pictures into states that add, one file each, and the same figures for plain arrays."""

from fusionlib.measures.agreement import disagreement, diversity
from fusionlib.measures.calibration_figures import (
    adaptive_ece,
    brier,
    classwise_ece,
    coarsen,
    ece,
    jensen_shannon,
    kl,
    mce,
    misclassification_auroc,
    nll,
)
from fusionlib.measures.cka import linear_cka
from fusionlib.measures.confusion import (
    blind_figures,
    confusion_matrix,
    iou,
    mean_iou,
    pixel_accuracy,
    precision,
    recall,
)
from fusionlib.measures.observation import Observation
from fusionlib.measures.oracle import oracle

__all__ = [
    "Observation",
    "adaptive_ece",
    "blind_figures",
    "brier",
    "classwise_ece",
    "coarsen",
    "confusion_matrix",
    "disagreement",
    "diversity",
    "ece",
    "iou",
    "jensen_shannon",
    "kl",
    "linear_cka",
    "mce",
    "mean_iou",
    "misclassification_auroc",
    "nll",
    "oracle",
    "pixel_accuracy",
    "precision",
    "recall",
]
