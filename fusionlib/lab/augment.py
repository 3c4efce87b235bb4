"""Augmentations of whole batches, as heads of one run see them. No torch."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from fusionlib.contracts import Batch

_Pair = tuple[np.ndarray, np.ndarray]

JITTER = 0.4
"""How far brightness, contrast and saturation go from 1."""

SMALLEST = 0.5
"""Side of the smallest part that is cut out, in the picture's."""


def augmented(name: str, batch: Batch, key: tuple[int, ...]) -> Batch:
    """The batch as the augmentation of that name makes it; what is random follows from the key and the name alone."""
    rng = np.random.default_rng((*key, zlib.crc32(name.encode())))
    pairs = [AUGMENTATIONS[name](*pair, rng) for pair in zip(batch.images, batch.truths, strict=True)]
    return Batch(np.stack([image for image, _ in pairs]), np.stack([truth for _, truth in pairs]))


def identity(image: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> _Pair:
    """As it is."""
    return image, truth


def flip(image: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> _Pair:
    """Mirrored, left for right."""
    return np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(truth[:, ::-1])


def colour(image: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> _Pair:
    """Other brightness, contrast and saturation, each by a factor around 1."""
    brightness, contrast, saturation = rng.uniform(1 - JITTER, 1 + JITTER, 3).astype(np.float32)
    pixels = image.astype(np.float32) * brightness
    pixels = (pixels - pixels.mean()) * contrast + pixels.mean()
    grey = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    pixels = grey[..., None] + (pixels - grey[..., None]) * saturation
    return pixels.round().clip(0, 255).astype(np.uint8), truth


def crop(image: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> _Pair:
    """A part of it at the size of the whole."""
    height, width = truth.shape
    side = rng.uniform(SMALLEST, 1)
    rows, columns = max(1, round(side * height)), max(1, round(side * width))
    top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
    window = np.s_[top : top + rows, left : left + columns]
    return _resized(image[window], (width, height), Image.Resampling.BILINEAR), _resized(
        truth[window], (width, height), Image.Resampling.NEAREST
    )


def _resized(pixels: np.ndarray, size: tuple[int, int], how: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize(size, how))


AUGMENTATIONS: dict[str, Callable[[np.ndarray, np.ndarray, np.random.Generator], _Pair]] = {
    "identity": identity,
    "flip": flip,
    "colour": colour,
    "crop": crop,
}
