"""Meters: streaming measures with a fixed-size state, one file each, and the same figures for plain arrays."""

from fusionlib.metrics.confusion import confusion_matrix, iou, mean_iou, pixel_accuracy, precision, recall
from fusionlib.metrics.observation import Observation

__all__ = ["Observation", "confusion_matrix", "iou", "mean_iou", "pixel_accuracy", "precision", "recall"]
