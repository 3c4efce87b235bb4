"""Meters: streaming measures with a fixed-size state, one file each, and the same figures for plain arrays."""

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

__all__ = [
    "Observation",
    "adaptive_ece",
    "blind_figures",
    "brier",
    "classwise_ece",
    "coarsen",
    "confusion_matrix",
    "ece",
    "iou",
    "jensen_shannon",
    "kl",
    "mce",
    "mean_iou",
    "misclassification_auroc",
    "nll",
    "pixel_accuracy",
    "precision",
    "recall",
]
