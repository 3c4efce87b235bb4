"""Some pixels of a picture in colour, the rest of it dimmed."""

from __future__ import annotations

import numpy as np

from fusionlib.errors import UsageError

RIGHT, WRONG = (46, 196, 182), (255, 107, 53)
"""Teal and orange: apart for colour-blind readers, and bright on the dimmed picture."""


def highlight(image: np.ndarray, right: np.ndarray, wrong: np.ndarray, strength: float = 0.35) -> np.ndarray:
    """The picture in grey at `strength` of its brightness, `right` and `wrong` pixels in their colours: (H, W, 3)
    uint8.

    `image` (H, W, 3) uint8; both masks (H, W) bool. Raises `UsageError` when the sizes differ.
    """
    if not image.shape[:2] == right.shape == wrong.shape:
        raise UsageError(
            f"A picture {image.shape[:2]}, masks {right.shape} and {wrong.shape}", "equal sizes", "Resize the masks"
        )
    grey = image.astype(np.float32) @ np.array((0.299, 0.587, 0.114), np.float32)
    shown = np.repeat(np.rint(grey * strength).astype(np.uint8)[..., None], 3, axis=2)
    shown[right], shown[wrong] = RIGHT, WRONG
    return shown
