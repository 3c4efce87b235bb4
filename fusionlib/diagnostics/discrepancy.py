"""Layer discrepancy: which share of a tensor's elements has moved noticeably."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from fusionlib.contracts import DIAGNOSTICS, Diagnostic
from fusionlib.diagnostics.gram import as_floats
from fusionlib.errors import UsageError

TAU = 10.0
"""The paper prints no value; 10 counts elements that differ by a tenth of themselves or more.

Always shown beside the result.
"""


def discrepancy(anchor: Any, other: Any, tau: float = TAU) -> float:
    """Fraction of elements with `|other - anchor| >= |anchor| / tau`: two arrays or tensors of equal shape -> 0 to 1; 0
    for no elements.

    An element that did not change is not counted, not even one that is 0 in both, where the printed inequality reads 0
    >= 0: else two copies of a network with zero biases would differ. Asymmetric: the anchor's size is the yardstick.

    Source: Layer-wise Model Merging, Figure 2 (written with norms there, described as a count of parameters).
    Raises: `UsageError` for other shapes, or tau not above 0.
    """
    if not tau > 0:
        raise UsageError(f"tau = {tau}", "a number above 0", "Try 10")
    first, second = _values(anchor), _values(other)
    if first.shape != second.shape:
        raise UsageError(
            f"Tensors of {first.size} and {second.size} elements", "the same shape", "Compare tensors of the same shape"
        )
    return differences(first, second, tau)[0] / first.size if first.size else 0.0


def differences(anchor: np.ndarray, other: np.ndarray, tau: float) -> tuple[int, float]:
    """How many elements of two flat float arrays (n,) satisfy the inequality, and `sum (other - anchor)^2`; both in
    float64.
    """
    start = anchor.astype(np.float64)
    moved = np.abs(other - start)
    return int(np.count_nonzero((moved >= np.abs(start) / tau) & (moved > 0))), float(moved.dot(moved))


def _values(row: Any) -> np.ndarray:
    return as_floats(row) if isinstance(row, torch.Tensor) else np.asarray(row, dtype=np.float64).reshape(-1)


DIAGNOSTICS.register("discrepancy")(
    Diagnostic(
        "Layer discrepancy",
        "Fraction of a tensor's elements that differ by at least 1 / tau of themselves",
        "Layer-wise Model Merging, Figure 2; tau is not printed there",
        "weights",
        discrepancy,
    )
)
