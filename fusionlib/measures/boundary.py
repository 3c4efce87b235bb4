"""Boundary IoU: how well the edges of predicted regions lie on the annotated ones. Arithmetic over maps of ids.

A plain module, none of the measures: a band along edges needs its picture whole, so that states of tiles do not add;
and it follows from label maps that are kept.
"""

from __future__ import annotations

import numpy as np

from fusionlib.contracts import IGNORE
from fusionlib.errors import UsageError
from fusionlib.measures.strata import band_width, edge_band

VERSION = 1
"""Raised whenever counts of the same maps come out otherwise."""


def boundary_counts(truth: np.ndarray, prediction: np.ndarray, classes: int, distance: int | None = None) -> np.ndarray:
    """(3, C) int64 of a picture: pixels in both bands, in the truth's, in the prediction's; two maps (H, W) uint8.

    The band of class c are its pixels whose distance to the nearest pixel that is not c is at most `distance`, by
    default `band_width`. Bands are taken of the whole maps (the border of the picture is no edge, see `edge_band`), and
    pixels whose truth is void dropped after that. Predictions outside `0 ... classes - 1` have no band.
    Raises `UsageError` where the shapes differ.
    """
    if truth.shape != prediction.shape:
        raise UsageError(f"Maps {truth.shape} and {prediction.shape}", "maps of one size", "Measure them again")
    distance = band_width(*truth.shape) if distance is None else distance
    labelled = truth != IGNORE
    annotated, predicted = edge_band(truth, distance) & labelled, edge_band(prediction, distance) & labelled
    both = annotated & predicted & (truth == prediction)
    parts = (truth[both], truth[annotated], prediction[predicted])
    return np.stack([np.bincount(part, minlength=IGNORE + 1)[:classes] for part in parts]).astype(np.int64)


def boundary_iou(counts: np.ndarray) -> list[float | None]:
    """`|(G_d n G) n (P_d n P)| / |(G_d n G) u (P_d n P)|` per class, of counts (3, C) summed over pictures.

    None where neither has the class. Source: Cheng et al., "Boundary IoU", CVPR 2021, equation 2.
    """
    both, truth, predicted = counts
    union = truth + predicted - both
    return [float(a / b) if b else None for a, b in zip(both, union, strict=True)]


def mean_boundary_iou(counts: np.ndarray) -> float | None:
    """Mean over the classes that have one; None where none has."""
    known = [one for one in boundary_iou(counts) if one is not None]
    return float(np.mean(known)) if known else None
