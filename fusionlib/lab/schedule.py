"""Learning-rate schedules: over one cycle as factors of the start rate, and those that go round."""

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


def triangle(step: int, cycle: int, high: float, low: float) -> float:
    """From `high` to `low` and back within a cycle of steps, in straight lines; lowest at its middle step.

    With `t = (mod(i - 1, c) + 1) / c` of step i = `step` + 1 it is `(1 - 2t) high + 2t low` up to t = 1/2, and
    `(2 - 2t) low + (2t - 1) high` beyond. Source: Garipov et al. 2018 (fast geometric ensembling), section 5.
    """
    t = (step % cycle + 1) / cycle
    return (1 - 2 * t) * high + 2 * t * low if t <= 0.5 else (2 - 2 * t) * low + (2 * t - 1) * high


SCHEDULES: dict[str, Callable[[int, int], float]] = {"cosine": cosine, "poly": poly, "constant": constant}
