"""Label maps as colours."""

from __future__ import annotations

import numpy as np

from fusionlib.data.labels import LabelSpace
from fusionlib.errors import UsageError


def colourise(labels: np.ndarray, space: LabelSpace) -> np.ndarray:
    """Colours of a label map: (H, W) uint8 or int64 -> (H, W, 3) uint8; void and unknown ids get `space.none`."""
    if labels.dtype != np.uint8:
        labels = np.where((labels < 0) | (labels >= space.count), 255, labels).astype(np.uint8)
    return space.lut[labels]


def overlay(image: np.ndarray, labels: np.ndarray, space: LabelSpace, opacity: float = 0.6) -> np.ndarray:
    """`(1 - opacity) image + opacity colour`, rounded: (H, W, 3) uint8. The picture shows through where there is no
    class.

    Raises `UsageError` when the sizes differ or opacity is not in 0 ... 1.
    """
    if image.shape[:2] != labels.shape:
        raise UsageError(f"A picture {image.shape[:2]} and labels {labels.shape}", "equal sizes", "Resize the labels")
    if not 0.0 <= opacity <= 1.0:
        raise UsageError(f"Opacity {opacity}", "0 to 1", "Correct it")
    mixed = image + (colourise(labels, space).astype(np.float32) - image) * np.float32(opacity)
    classless = (labels < 0) | (labels >= space.count)
    return np.where(classless[..., None], image, np.rint(mixed).astype(np.uint8))
