"""Learning-rate schedules, as factors of the start rate over one cycle."""

from __future__ import annotations

import math
from collections.abc import Callable


def cosine(step: int, steps: int) -> float:
    """`(1 + cos(pi t / T)) / 2`: from 1 to 0 over one cycle.

    Source: "Improving Predictive Performance and Calibration by Weight Fusion in Semantic Segmentation", section 3.2.
    The printed formula sums over T and has no cosine; this is the usual one, which the text describes.
    """
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def poly(step: int, steps: int, power: float = 0.9) -> float:
    """`(1 - t / T) ** 0.9`, the usual schedule for segmentation from scratch."""
    return (1 - step / steps) ** power


def constant(step: int, steps: int) -> float:
    """1 throughout."""
    return 1.0


SCHEDULES: dict[str, Callable[[int, int], float]] = {"cosine": cosine, "poly": poly, "constant": constant}
