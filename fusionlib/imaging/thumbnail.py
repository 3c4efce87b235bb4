"""Small pictures for galleries."""

from __future__ import annotations

import numpy as np
from PIL import Image

from fusionlib.errors import UsageError
from fusionlib.imaging.png import encode_picture

SIDE = 192
"""Pixels of the longer side."""


def thumbnail(image: np.ndarray, side: int = SIDE) -> bytes:
    """A picture (H, W, 3) uint8 as JPEG whose longer side has at most `side` pixels; a small one keeps its size.

    Raises `UsageError` for another shape.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise UsageError(f"A picture {image.shape} of {image.dtype}", "(H, W, 3) uint8", "Convert it")
    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return encode_picture(np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)))
