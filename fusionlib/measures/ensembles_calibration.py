"""How sure every subset of some networks is when it answers together, and how often it is right."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from fusionlib.contracts import MEASURES, Figure, Grain, Needs, Networks, State
from fusionlib.measures.bins import DEFAULT_BINS, FINE_BINS
from fusionlib.measures.calibration import STEP, fine_bins, usable_pixels
from fusionlib.measures.calibration_figures import ece
from fusionlib.measures.observation import Observation
from fusionlib.measures.subsets import answering_together, subsets_below


class EnsemblesCalibration:
    """Sample-weighted ECE in 15 bins of the mean of the probabilities of every subset of K networks, 2 to K of them.

    Asked with `ensembles`, it comes out of the same pass. Bins, confidence and the pixels that count are those of the
    measure `calibration`, and so is the figure: what a pass of the ensemble alone gives.

    State, subsets small first and in the order of the networks: `outcomes` (2, S, 15) int64, wrong pixels, then right
    ones; `confidence` (S, 15) int64, sums in steps of 2^-20. Of K > 5 a state takes more than 4 KB.
    """

    title: ClassVar[str] = "Calibration of all subsets"
    summary: ClassVar[str] = "ECE of every subset of the networks that answers together, out of one pass of each"
    source: ClassVar[str] = "Guo et al. 2017, Eq. 3; Lakshminarayanan et al. 2017, section 2.4"
    version: ClassVar[int] = 1
    needs: ClassVar[Needs] = "masks"
    networks: ClassVar[Networks] = "set"
    grain: ClassVar[Grain] = "picture"
    always: ClassVar[bool] = False
    reads: ClassVar[frozenset[str]] = frozenset()
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure("ensemble_ece", "ECE", "%", "lower", 2, "ECE of each subset's mean of probabilities", "subset"),
    )

    def init(self, classes: int, device: torch.device, members: int = 2) -> State:
        """Zeros for all subsets of `members` networks. Raises `UsageError` for more than 8."""
        return no_bins(subsets_below(members), device)

    def update(self, state: State, *observations: Observation) -> None:
        """Add the labelled pixels. Raises `DataError` when the truth has an unknown id."""
        for place, seen in answering_together(observations):
            add_bins(state, place, seen)

    def compute(self, state: State) -> dict[str, Any]:
        """A list in the order of the subsets; None where no pixel is labelled."""
        return {"ensemble_ece": eces_of(state)}


def no_bins(count: int, device: torch.device) -> State:
    """Zeros for S = `count` ensembles, as the docstring of `EnsemblesCalibration` has them."""
    shapes = {"outcomes": (2, count, DEFAULT_BINS), "confidence": (count, DEFAULT_BINS)}
    return {name: torch.zeros(shape, dtype=torch.int64, device=device) for name, shape in shapes.items()}


def add_bins(state: State, place: int, seen: Observation) -> None:
    """Add the labelled pixels of ensemble number `place`. Raises `DataError` when the truth has an unknown id."""
    usable = usable_pixels(seen)
    bins = fine_bins(seen.label_confidence).div_(FINE_BINS // DEFAULT_BINS, rounding_mode="floor")
    cell = bins.add_(seen.right, alpha=DEFAULT_BINS).masked_fill_(~usable, 2 * DEFAULT_BINS).view(-1)
    steps = (seen.label_confidence * (1 / STEP)).round_().double().view(-1)
    outcomes = torch.bincount(cell, minlength=2 * DEFAULT_BINS + 1)[:-1].view(2, DEFAULT_BINS)
    # Whole numbers below 2^53 in float64: exact whatever the order of the additions.
    sums = torch.bincount(cell, steps, minlength=2 * DEFAULT_BINS + 1)[:-1].view(2, DEFAULT_BINS)
    state["outcomes"][:, place] += outcomes
    state["confidence"][place] += sums.sum(0).long()


def eces_of(state: State) -> list[float | None]:
    """ECE of every ensemble; None where no pixel is labelled."""
    wrong, right = state["outcomes"].cpu().numpy()
    sums = state["confidence"].cpu().numpy() * STEP
    return [ece(*rows) for rows in zip(wrong + right, right, sums, strict=True)]


MEASURES.register("ensembles_calibration")(EnsemblesCalibration())
