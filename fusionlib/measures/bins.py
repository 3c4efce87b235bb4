"""How many bins of confidence calibration is shown in."""

from __future__ import annotations

from fusionlib.errors import UsageError

OFFERED_BINS = (10, 12, 15, 20, 30)
"""Bin counts that figures are given for."""

KEPT_BINS = 60
"""Bins in a stored result, per predicted class: every offered count divides it.

What needs finer ones is computed before.
"""

DEFAULT_BINS = 15


def check_bins(bins: int) -> int:
    """`bins` itself. Raises `UsageError` for a number that is not offered."""
    if bins not in OFFERED_BINS:
        raise UsageError(f"{bins} bins", f"one of {', '.join(map(str, OFFERED_BINS))}", "Choose another number of bins")
    return bins
