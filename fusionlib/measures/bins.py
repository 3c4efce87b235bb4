"""Bins of confidence: how many are counted, kept and offered."""

from __future__ import annotations

from fusionlib.errors import UsageError

OFFERED_BINS = (10, 12, 15, 20, 30)
"""Bin counts that figures are given for."""

DEFAULT_BINS = 15

KEPT_BINS = 60
"""Bins per predicted class in what is kept of every picture: every offered count divides it, so that coarse bins are
exact sums.
"""

FINE_BINS = 5040
"""Bins that are told apart where figures need finer ones; 60 divides it (4096 has no divisor among the offered)."""

WITHIN = FINE_BINS // KEPT_BINS
"""Fine bins in a kept one."""

MINIMUM_COUNT = 100
"""Pixels that a bin needs to take part in the robust MCE."""


def check_bins(bins: int) -> int:
    """`bins` itself. Raises `UsageError` for a number that is not offered."""
    if bins not in OFFERED_BINS:
        raise UsageError(f"{bins} bins", f"one of {', '.join(map(str, OFFERED_BINS))}", "Choose another number of bins")
    return bins
