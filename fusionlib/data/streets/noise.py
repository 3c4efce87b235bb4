"""Periodic noise tiles, the same on every machine and for every scene."""

from __future__ import annotations

from functools import cache

import numpy as np

SIZE = 512


def _upsample(grid: np.ndarray, size: int) -> np.ndarray:
    """Periodic smooth interpolation of a square grid to size x size."""
    cells = grid.shape[0]
    position = np.arange(size, dtype=np.float64) * cells / size
    low = position.astype(np.int64)
    weight = position - low
    weight = weight * weight * (3 - 2 * weight)
    high = (low + 1) % cells
    rows = grid[low] * (1 - weight)[:, None] + grid[high] * weight[:, None]
    return rows[:, low] * (1 - weight) + rows[:, high] * weight


@cache
def tile(name: str) -> np.ndarray:
    """Float32 (512, 512) periodic tile in about -1..1: 'soft', 'cloud', 'rough', 'grain' or 'leaf'."""
    recipes = {
        "soft": ((4, 1.0), (8, 0.6), (16, 0.3)),
        "cloud": ((4, 1.0), (8, 0.55), (16, 0.32), (32, 0.2), (64, 0.12), (128, 0.07)),
        "rough": ((8, 0.5), (32, 0.5), (128, 0.6), (256, 0.6), (512, 0.6)),
        "grain": ((256, 0.6), (512, 1.0)),
        "leaf": ((16, 0.8), (32, 0.9), (64, 0.9), (128, 0.7), (256, 0.4)),
    }
    rng = np.random.default_rng(sum(ord(letter) for letter in name))
    total = np.zeros((SIZE, SIZE))
    for cells, weight in recipes[name]:
        total += weight * _upsample(rng.uniform(-1, 1, (cells, cells)), SIZE)
    total /= 2.2 * total.std()
    return np.clip(total, -1, 1).astype(np.float32)


def sample(name: str, x: np.ndarray, y: np.ndarray | np.floating) -> np.ndarray:
    """Tile values at broadcastable tile coordinates x, y (wrapped, nearest)."""
    column = np.asarray(x).astype(np.int32) & (SIZE - 1)
    row = (np.asarray(y).astype(np.int32) & (SIZE - 1)) << 9
    return tile(name).ravel().take(row | column)


@cache
def _spread(name: str) -> np.ndarray:
    """The tile repeated so that most patches are plain views of it."""
    return np.tile(tile(name), (2, 3))


def patch(name: str, height: int, width: int, offset: int = 0) -> np.ndarray:
    """A height x width cut of the tile, one texel per pixel, starting at a shifted corner."""
    top, left = offset * 7 & (SIZE - 1), offset * 13 & (SIZE - 1)
    wide = _spread(name)
    if top + height <= wide.shape[0] and left + width <= wide.shape[1]:
        return wide[top : top + height, left : left + width]
    rows = (np.arange(height) + offset * 7) & (SIZE - 1)
    columns = (np.arange(width) + offset * 13) & (SIZE - 1)
    return tile(name)[rows[:, None], columns]
