"""How often networks disagree, and how much of their errors that is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
import torch

from fusionlib.contracts import IGNORE, MEASURES, Figure, Grain, Needs, Networks, State
from fusionlib.measures.observation import Observation


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


class Agreement:
    """How often M networks decide pixels differently, pair by pair, and how that compares with their errors.

    State: `differing` (M, M) int64, pixels decided differently; `wrong` (M,) int64; `pixels` () int64, and `labelled`
    () int64, those of them that have a label. With masks only labelled pixels count; without masks all do.
    """

    title: ClassVar[str] = "Agreement"
    summary: ClassVar[str] = "Share of pixels that networks label differently, and as a percentage of their errors"
    source: ClassVar[str] = 'lecture "Ensembling and Weight Averaging", diversity'
    version: ClassVar[int] = 1
    needs: ClassVar[Needs] = "pictures"
    networks: ClassVar[Networks] = "set"
    grain: ClassVar[Grain] = "picture"
    always: ClassVar[bool] = False
    reads: ClassVar[frozenset[str]] = frozenset()
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure("disagreement", "Disagreement", "%", "", 2, "Pixels that two networks label differently, mean of pairs"),
        Figure("diversity", "Diversity", "", "", 1, "Disagreement in percent of the worse network's errors"),
        Figure("pair_disagreement", "Disagreement", "%", "", 2, "The same of two networks", "pair"),
        Figure("pair_diversity", "Diversity", "", "", 1, "The same of two networks", "pair"),
    )

    def init(self, classes: int, device: torch.device, members: int = 2) -> State:
        """Zeros for `members` networks."""
        shapes: dict[str, tuple[int, ...]] = {"differing": (members, members), "wrong": (members,)}
        shapes |= {"pixels": (), "labelled": ()}
        return {name: torch.zeros(shape, dtype=torch.int64, device=device) for name, shape in shapes.items()}

    def update(self, state: State, *observations: Observation) -> None:
        """Add what M networks see of the same pixels."""
        truth = observations[0].truth if observations[0].labelled else None
        self.add(state, [one.predicted_bytes for one in observations], truth)

    def add(self, state: State, predictions: Sequence[torch.Tensor], truth: torch.Tensor | None) -> None:
        """Add label maps (N, H, W) of all networks, and the truth (N, H, W), `IGNORE` for void, or None."""
        counted = torch.ones_like(predictions[0], dtype=torch.bool) if truth is None else truth != IGNORE
        for i, one in enumerate(predictions):
            for j in range(i + 1, len(predictions)):
                count = (one != predictions[j]).logical_and_(counted).sum()
                state["differing"][i, j] += count
                state["differing"][j, i] += count
            if truth is not None:
                state["wrong"][i] += (one != truth).logical_and_(counted).sum()
        pixels = counted.sum()
        state["pixels"] += pixels
        state["labelled"] += pixels if truth is not None else 0

    def compute(self, state: State) -> dict[str, Any]:
        """`disagreement` (mean of the pairs) and `diversity` (of all) of M networks, None without pixels or labels;
        `pair_disagreement` and `pair_diversity` of each pair in the order (0, 1), (0, 2), ... (M - 2, M - 1).
        """
        differing, wrong = state["differing"].cpu().numpy(), state["wrong"].cpu().numpy()
        pixels, labelled = int(state["pixels"]), int(state["labelled"])
        pairs = list(combinations(range(len(wrong)), 2))
        apart = [int(differing[pair]) / pixels if pixels else None for pair in pairs]

        def diverse(members: Sequence[int]) -> float | None:
            return (
                diversity_from_counts(differing[np.ix_(members, members)], wrong[list(members)]) if labelled else None
            )

        known = [one for one in apart if one is not None]
        return {
            "disagreement": float(np.mean(known)) if known else None,
            "diversity": diverse(range(len(wrong))),
            "pair_disagreement": apart,
            "pair_diversity": [diverse(pair) for pair in pairs],
            "compared_pixels": pixels,
        }


MEASURES.register("agreement")(Agreement())
