"""Barriers: how much worse the path between two networks is than its ends."""

from __future__ import annotations

from typing import Any

import numpy as np

from fusionlib.contracts import DIAGNOSTICS, Diagnostic
from fusionlib.errors import UsageError

MODES = {
    "entezari": "against the straight line between the ends' values",
    "frankle": "against the mean of the ends' values",
}


def barrier(alphas: Any, losses: Any, mode: str = "entezari", *, higher_is_better: bool = False) -> float:
    """Height of the barrier along `alpha A + (1 - alpha) B`: alphas (n,), losses (n,) in any order -> one number in the
    losses' unit.

    entezari: `max_a [L(a) - (a L(1) + (1 - a) L(0))]`, never below 0, because the ends count.
    frankle:  `max_a L(a) - (L(0) + L(1)) / 2`, never below half the difference of the ends.
    With `higher_is_better` (mIoU, accuracy) the sign is turned, so that a barrier is positive where the path is worse.

    The path is what was measured: whether batch-norm statistics were averaged or measured anew at each alpha changes it
    (the REPAIR question), so the buffer policy belongs beside the number.

    Source: Entezari et al. 2022 (definition 1); Frankle et al. 2020 (section 2), used by Git Re-Basin.
    Raises: `UsageError` where alpha 0 or 1 is missing, sizes differ or the mode is unknown.
    """
    return barrier_point(alphas, losses, mode, higher_is_better=higher_is_better)[0]


def barrier_point(
    alphas: Any, losses: Any, mode: str = "entezari", *, higher_is_better: bool = False
) -> tuple[float, float]:
    """Height of the barrier and the alpha where it is reached (the smallest among equals); see `barrier`."""
    where, values = np.asarray(alphas, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    if where.shape != values.shape or where.ndim != 1:
        raise UsageError(
            f"{where.shape} alphas and {values.shape} values",
            "two lists of equal length",
            "Give one value for each alpha",
        )
    if mode not in MODES:
        raise UsageError(f"Barrier mode {mode!r}", f"one of {', '.join(MODES)}", "Correct the mode")
    if not {0.0, 1.0} <= set(where.tolist()):
        raise UsageError("A path without its ends", "values at alpha 0 and at alpha 1", "Measure both ends")
    order = np.argsort(where, kind="stable")
    where, values = where[order], values[order] * (-1 if higher_is_better else 1)
    low, high = values[0], values[-1]
    line = where * high + (1 - where) * low if mode == "entezari" else np.full_like(values, (low + high) / 2)
    excess = values - line
    if mode == "entezari":
        excess[[0, -1]] = 0.0  # the ends lie on the line; rounding must not say otherwise
    peak = int(excess.argmax())
    return float(excess[peak]), float(where[peak])


DIAGNOSTICS.register("barrier")(
    Diagnostic(
        "Barrier along the path",
        "How much worse the worst point between A and B is than the ends",
        "Entezari et al. 2022 (linear interpolation of the ends); Frankle et al. 2020 (mean of the ends)",
        "masks",
        barrier,
    )
)
