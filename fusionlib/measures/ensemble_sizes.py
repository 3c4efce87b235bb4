"""How an ensemble grows: what the first networks of a list say together, size by size."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from fusionlib.contracts import MEASURES, Figure, Grain, Needs, Networks, State
from fusionlib.measures.ensembles import add_outcomes, add_truth, no_outcomes, scores_of
from fusionlib.measures.ensembles_calibration import add_bins, eces_of, no_bins
from fusionlib.measures.observation import Observation
from fusionlib.measures.subsets import first_together


class EnsembleSizes:
    """mIoU, pixel accuracy, loss and ECE of the first 1, 2, ..., M networks, which answer together by the mean of
    their probabilities.

    M forward passes a picture for all sizes, and any number of networks, where `ensembles` has all subsets of at most
    eight. The first size is the first network itself.

    State, one row a size: that of `ensembles` and of `ensembles_calibration` (whose figures these are). With 19 classes
    and 8 networks a packed state takes about 2 KB.
    """

    title: ClassVar[str] = "Ensemble by size"
    summary: ClassVar[str] = "mIoU, loss and ECE of the first 1, 2, ..., M networks that answer together"
    source: ClassVar[str] = "Lakshminarayanan et al. 2017, section 2.4"
    version: ClassVar[int] = 1
    needs: ClassVar[Needs] = "masks"
    networks: ClassVar[Networks] = "set"
    grain: ClassVar[Grain] = "picture"
    always: ClassVar[bool] = False
    reads: ClassVar[frozenset[str]] = frozenset()
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure("size_miou", "mIoU", "%", "higher", 2, "mIoU of the mean of probabilities of the first ones", "size"),
        Figure("size_pixel_accuracy", "Pixel accuracy", "%", "higher", 2, "Labelled pixels right", "size"),
        Figure("size_loss", "Loss", "nats", "lower", 4, "Mean negative log-likelihood of the truth", "size"),
        Figure("size_ece", "ECE", "%", "lower", 2, "Sample-weighted ECE in 15 bins", "size"),
    )

    def init(self, classes: int, device: torch.device, members: int = 2) -> State:
        """Zeros for `members` sizes."""
        return no_outcomes(members, classes, device) | no_bins(members, device)

    def update(self, state: State, *observations: Observation) -> None:
        """Add the labelled pixels.

        Raises `DataError` when the truth has an unknown id, `UsageError` for networks of different classes.
        """
        for place, seen in enumerate(first_together(observations)):
            add_outcomes(state, place, seen)
            add_bins(state, place, seen)
        add_truth(state, observations[0])

    def compute(self, state: State) -> dict[str, Any]:
        """A list of each figure, by size; None where no pixel is labelled, or a loss undefined."""
        figures = {**scores_of(state), "ece": eces_of(state)}
        return {f"size_{name}": values for name, values in figures.items()}


MEASURES.register("ensemble_sizes")(EnsembleSizes())
