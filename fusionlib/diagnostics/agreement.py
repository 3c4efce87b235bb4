"""How often networks disagree, and how much of their errors that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fusionlib.contracts import DIAGNOSTICS, IGNORE, Diagnostic


def disagreement(first: Any, second: Any, truth: Any = None, ignore: int = IGNORE) -> float | None:
    """Fraction of pixels with different labels: two label maps of equal shape -> 0 to 1. With `truth`, over labelled
    pixels alone.

    None where no pixel is left.
    """
    differs = np.asarray(first) != np.asarray(second)
    if truth is not None:
        differs = differs[np.asarray(truth) != ignore]
    return float(differs.mean()) if differs.size else None


def diversity(predictions: Sequence[Any], truth: Any, ignore: int = IGNORE) -> float | None:
    """`100 mean_{m != n} P(pred_m != pred_n) / max(err_m, err_n)`: M label maps and the truth -> percent.

    err_m is the share of labelled pixels that network m gets wrong; only labelled pixels count. 100 means that as many
    pixels are decided differently as the worse network gets wrong; above 100 errors hardly coincide. Pairs of two
    perfect networks (0 / 0) are left out; None where nothing is left.

    Source: lecture "Ensembling and Weight Averaging" (diversity of classifiers), applied to pixels.
    """
    true = np.asarray(truth)
    keep = true != ignore
    said, true = [np.asarray(one)[keep] for one in predictions], true[keep]
    counts = np.array([[np.count_nonzero(one != two) for two in said] for one in said], dtype=np.int64)
    return diversity_from_counts(counts, np.array([np.count_nonzero(one != true) for one in said], dtype=np.int64))


def diversity_from_counts(differing: np.ndarray, wrong: np.ndarray) -> float | None:
    """The same from counts: pixels decided differently (M, M) and pixels wrong (M,)."""
    ratios = [
        differing[m, n] / max(wrong[m], wrong[n])
        for m in range(len(wrong))
        for n in range(len(wrong))
        if m != n and max(wrong[m], wrong[n])
    ]
    return float(100 * np.mean(ratios)) if ratios else None


class AgreementMeter:
    """Streamed counts for M networks: `differing` (M, M) int64, `wrong` (M,) int64, `pixels` () int64. States add.

    With a truth only labelled pixels count; without one (pictures without masks) all do, and `wrong` stays 0.
    """

    version = 1

    def __init__(self, members: int, device: torch.device | str = "cpu") -> None:
        self.differing = torch.zeros(members, members, dtype=torch.int64, device=device)
        self.wrong = torch.zeros(members, dtype=torch.int64, device=device)
        self.pixels = torch.zeros((), dtype=torch.int64, device=device)
        self.labelled = True

    def update(self, predictions: Sequence[torch.Tensor], truth: torch.Tensor | None) -> None:
        """Add a batch: label maps (N, H, W) int64 of all networks and truth (N, H, W) int64, `IGNORE` for void, or
        None.
        """
        self.labelled = truth is not None
        valid = torch.ones_like(predictions[0], dtype=torch.bool) if truth is None else truth != IGNORE
        for i, one in enumerate(predictions):
            for j in range(i + 1, len(predictions)):
                count = ((one != predictions[j]) & valid).sum()
                self.differing[i, j] += count
                self.differing[j, i] += count
            if truth is not None:
                self.wrong[i] += ((one != truth) & valid).sum()
        self.pixels += valid.sum()

    def merge(self, other: AgreementMeter) -> None:
        """Add what another meter of as many networks has counted."""
        self.differing += other.differing
        self.wrong += other.wrong
        self.pixels += other.pixels

    def disagreement(self, a: int, b: int) -> float | None:
        """Fraction of pixels that two networks label differently; None without pixels."""
        return int(self.differing[a, b]) / int(self.pixels) if self.pixels else None

    def diversity(self, members: Sequence[int] | None = None) -> float | None:
        """Diversity of these networks, or of all, in percent; None without masks."""
        if not self.labelled:
            return None
        chosen = list(range(len(self.wrong))) if members is None else list(members)
        differing, wrong = self.differing.cpu().numpy(), self.wrong.cpu().numpy()
        return diversity_from_counts(differing[np.ix_(chosen, chosen)], wrong[chosen])


DIAGNOSTICS.register("disagreement")(
    Diagnostic(
        "Disagreement",
        "Share of pixels that two networks label differently",
        "share of differing labels, over labelled pixels where there are masks",
        "pictures",
        disagreement,
    )
)
DIAGNOSTICS.register("diversity")(
    Diagnostic(
        "Diversity",
        "Disagreement as a percentage of the worse network's errors",
        'lecture "Ensembling and Weight Averaging", diversity',
        "masks",
        diversity,
    )
)
