"""A regular grid of alphas, visited from coarse to fine, so that a partial curve already has the shape of the whole."""

from __future__ import annotations

from fusionlib.errors import UsageError

SMALLEST = 0.001
"""A thousand points; no curve needs more, and a slip of the keyboard must not ask for a billion."""


def alpha_grid(step: float) -> tuple[float, ...]:
    """`0, step, 2 step, ..., 1`, both ends included, rounded to 9 decimals.

    Source: Weight Fusion, section 2.2 (step 0.05, 21 points). Raises `UsageError` unless 0.001 <= step <= 1; where the step does
    not divide 1 the last interval is shorter.
    """
    if not SMALLEST <= step <= 1:
        raise UsageError(f"Step {step}", f"a number from {SMALLEST} to 1", "Try 0.05")
    count = int(1 / step + 1e-9)
    points = [round(index * step, 9) for index in range(count + 1)]
    return tuple(points if points[-1] == 1 else [*points, 1.0])


def coarse_to_fine(points: tuple[float, ...]) -> tuple[float, ...]:
    """The same points: both ends, then the middle of the widest gap, and so on (earliest gap first among equals)."""
    if len(points) < 3:
        return points
    order, gaps = [0, len(points) - 1], [(0, len(points) - 1)]
    while gaps:
        gaps.sort(key=lambda gap: (gap[0] - gap[1], gap[0]))
        low, high = gaps.pop(0)
        if high - low < 2:
            continue
        middle = (low + high) // 2
        order.append(middle)
        gaps += [(low, middle), (middle, high)]
    return tuple(points[index] for index in order)
