"""Some pixels of a picture in colour, the rest of it dimmed."""

from __future__ import annotations

import numpy as np

from fusionlib.errors import UsageError

RIGHT, WRONG = (46, 196, 182), (255, 107, 53)
"""Teal and orange: apart for colour-blind readers, and bright on the dimmed picture."""

EDGE = (255, 255, 255)
"""Of an outline: white, which no class of the usual palettes has."""


def highlight(image: np.ndarray, right: np.ndarray, wrong: np.ndarray, strength: float = 0.35) -> np.ndarray:
    """The picture in grey at `strength` of its brightness, `right` and `wrong` pixels in their colours: (H, W, 3)
    uint8.

    `image` (H, W, 3) uint8; both masks (H, W) bool. Raises `UsageError` when the sizes differ.
    """
    _check(image, right, wrong)
    shown = _dimmed(image, strength)
    shown[right], shown[wrong] = RIGHT, WRONG
    return shown


def outlined(image: np.ndarray, chosen: np.ndarray, strength: float = 0.35, width: int = 1) -> np.ndarray:
    """The picture as it is at the `chosen` pixels, with a white outline around them, the rest in grey at `strength` of
    its brightness: (H, W, 3) uint8.

    `image` (H, W, 3) uint8, `chosen` (H, W) bool; the outline is `width` pixels outside of them. Raises `UsageError`
    when the sizes differ.
    """
    from scipy import ndimage  # loaded by those who outline alone

    _check(image, chosen, chosen)
    shown = _dimmed(image, strength)
    around = ndimage.binary_dilation(chosen, np.ones((3, 3), bool), iterations=width) & ~chosen
    shown[chosen], shown[around] = image[chosen], EDGE
    return shown


def _check(image: np.ndarray, right: np.ndarray, wrong: np.ndarray) -> None:
    if not image.shape[:2] == right.shape == wrong.shape:
        raise UsageError(
            f"A picture {image.shape[:2]}, masks {right.shape} and {wrong.shape}", "equal sizes", "Resize the masks"
        )


def _dimmed(image: np.ndarray, strength: float) -> np.ndarray:
    grey = image.astype(np.float32) @ np.array((0.299, 0.587, 0.114), np.float32)
    return np.repeat(np.rint(grey * strength).astype(np.uint8)[..., None], 3, axis=2)
