"""Where errors lie: near the edges of classes, on small or large objects. Arithmetic over maps of ids."""

from __future__ import annotations

import math

import numpy as np

from fusionlib.contracts import IGNORE

SIZES = ("small", "medium", "large")
"""Sizes of objects: fewer than 32^2 pixels, fewer than 96^2, others."""

SMALL, LARGE = 32**2, 96**2
"""Pixels of the smallest object that is medium, and of the smallest that is large (COCO's areas)."""

BAND_SHARE = 0.02
"""Width of the band along edges as a part of the picture's diagonal."""

_CONNECTED = np.ones((3, 3), int)


def band_width(height: int, width: int) -> int:
    """`d = max(1, round(0.02 sqrt(H^2 + W^2)))` pixels. Source: Cheng et al., "Boundary IoU", CVPR 2021, section 4."""
    return max(1, round(BAND_SHARE * math.hypot(height, width)))


def edge_band(ids: np.ndarray, distance: int) -> np.ndarray:
    """Pixels whose distance to the nearest pixel of another id is at most `distance`: (H, W) uint8 -> (H, W) bool.

    Distances are Euclidean between the middles of pixels (a neighbour has 1), as `scipy.ndimage.distance_transform_edt`
    of each class alone has them, and exact for all classes at once: in the row `dy` away a pixel's nearest other id
    lies straight above or below, or is what is nearest to the pixel there within its own row. Void is an id like any
    other; the picture's border is no edge (the code of Boundary IoU erodes with zeros around, which makes it one).
    """
    height = len(ids)
    across = _distance_in_row(ids, distance)
    band = np.zeros(ids.shape, bool)
    for dy in range(-min(distance, height - 1), min(distance, height - 1) + 1):
        reach = math.isqrt(distance * distance - dy * dy)
        own, far = slice(max(0, -dy), height - max(0, dy)), slice(max(0, dy), height + min(0, dy))
        band[own] |= (ids[far] != ids[own]) | (across[far] <= reach)
    return band


def _distance_in_row(ids: np.ndarray, most: int) -> np.ndarray:
    """Distance of each pixel to the nearest one of another id in its row, `most + 1` where that is farther."""
    height, width = ids.shape
    places = np.arange(width, dtype=np.int32)
    first = np.ones((height, width), bool)
    first[:, 1:] = ids[:, 1:] != ids[:, :-1]
    last = np.ones((height, width), bool)
    last[:, :-1] = first[:, 1:]
    begins = np.maximum.accumulate(np.where(first, places, 0), axis=1)
    ends = np.minimum.accumulate(np.where(last, places, width - 1)[:, ::-1], axis=1)[:, ::-1]
    left = np.where(begins > 0, places - begins + 1, most + 1)
    right = np.where(ends < width - 1, ends - places + 1, most + 1)
    return np.minimum(np.minimum(left, right), most + 1)


def object_sizes(truth: np.ndarray) -> np.ndarray:
    """Number in `SIZES` of the object that each labelled pixel belongs to: (H, W) uint8 -> (H, W) uint8, 0 at void.

    An object is a connected component of one class of the truth, diagonal neighbours included; void splits it.
    """
    from scipy import ndimage  # loaded by those who look for objects alone

    found = np.zeros(truth.shape, np.uint8)
    for number, place in enumerate(ndimage.find_objects(truth.astype(np.int32) + 1)):
        if place is None or number == IGNORE:
            continue
        labels = np.empty(truth[place].shape, np.int32)
        ndimage.label(truth[place] == number, _CONNECTED, output=labels)
        areas = np.bincount(labels.ravel())
        sizes = ((areas >= SMALL).astype(np.uint8) + (areas >= LARGE)).astype(np.uint8)
        sizes[0] = 0
        found[place] += sizes[labels]
    return found
