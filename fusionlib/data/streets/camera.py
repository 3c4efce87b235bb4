"""Pinhole camera above a flat street that may bend."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NEAR = 1.2
FAR = 260.0


@dataclass(frozen=True)
class Camera:
    """World: x right, y up, z ahead, metres, ground y = 0; image: pixels, v down.

    `curve` (1/m) shifts x by curve * z**2, so that straight furniture follows the bend;
    `roll` shears rows with columns, a small camera tilt that keeps verticals vertical.
    """

    width: int
    height: int
    focal: float
    cx: float
    cy: float
    roll: float
    eye: float
    curve: float

    def project(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) world metres to (..., 2) pixels; z is held at the near plane."""
        points = np.asarray(points, dtype=np.float64)
        z = np.maximum(points[..., 2], NEAR)
        du = self.focal * (points[..., 0] / z + self.curve * z)
        v = self.cy + self.roll * du + self.focal * (self.eye - points[..., 1]) / z
        pixels = np.empty((*du.shape, 2))
        pixels[..., 0], pixels[..., 1] = self.cx + du, v
        return pixels

    def scale(self, z: float) -> float:
        """Pixels per metre at depth z."""
        return self.focal / max(z, NEAR)

    def ground(self, first_row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Street x (bend removed), depth z and below-horizon mask of all pixels from first_row down."""
        du = np.arange(self.width, dtype=np.float32) + np.float32(0.5 - self.cx)
        rows = np.arange(first_row, self.height, dtype=np.float32)[:, None] + np.float32(0.5 - self.cy)
        drop = rows - np.float32(self.roll) * du
        below = drop > self.focal * self.eye / FAR
        z = np.float32(self.focal * self.eye) / np.maximum(drop, np.float32(self.focal * self.eye / FAR))
        x = z * (du / np.float32(self.focal) - np.float32(self.curve) * z)
        return x, z, below
