"""Deep ensemble equivalent: how many independently trained networks are as good as an ensemble of another kind."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from fusionlib.contracts import DIAGNOSTICS, Diagnostic
from fusionlib.errors import UsageError

Likelihoods = Iterable[tuple[int, float]]
"""Size l of a deep ensemble and its calibrated log-likelihood; sizes need not follow one another, 1 is among them."""


def deep_ensemble_equivalent(curve: Likelihoods, value: float) -> float | None:
    """`DEE(v) = min{l >= 1 : CLL_DE(l) >= v}`, between sizes by linear interpolation; in networks.

    `curve` is CLL_DE, `value` v. 1 at or below CLL_DE(1), None above the largest. On a curve with dips it is the first
    crossing. The deep ensemble of l networks is itself worth l where its curve rises up to there.

    Source: Ashukha et al. 2020 ("Pitfalls of In-Domain Uncertainty Estimation"), section 4.1. Their notebook assumes
    sizes 1, 2, ... and a curve that rises, and gives the longest ensemble for whatever lies above. Raises `UsageError`
    where size 1 is missing or a size stands twice.
    """
    points = _sorted(curve)
    if value <= points[0][1]:
        return 1.0
    for (size, low), (larger, high) in pairwise(points):
        if low < value <= high:
            return size + (larger - size) * (value - low) / (high - low)
    return None


def equivalent_in_words(curve: Likelihoods, value: float) -> str:
    """`2.4`, `<= 1` or `> 5`, L = 5 the largest size."""
    points = _sorted(curve)
    found = deep_ensemble_equivalent(points, value)
    if found is None:
        return f"> {points[-1][0]}"
    return "<= 1" if found == 1 else f"{found:.1f}"


def _sorted(curve: Likelihoods) -> list[tuple[int, float]]:
    points = sorted(curve)
    sizes = [size for size, _ in points]
    if sizes[:1] != [1] or len(set(sizes)) < len(sizes):
        raise UsageError(
            f"Deep ensembles of {', '.join(map(str, sizes)) or 'no'} networks",
            "sizes from 1 on, each once",
            "Name the reference networks again",
        )
    return points


DIAGNOSTICS.register("deep_ensemble_equivalent")(
    Diagnostic(
        "Deep ensemble equivalent",
        "How many independent networks together are as likely to be right, once calibrated",
        "Ashukha et al. 2020, section 4.1; calibrated log-likelihood, 5 times 2-fold over pictures",
        "masks",
        deep_ensemble_equivalent,
    )
)
