"""How likely the truth is to a growing ensemble at every temperature: what calibrated log-likelihood follows from."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from fusionlib.contracts import MEASURES, Figure, Grain, Needs, Networks, State
from fusionlib.measures.observation import UNIT, Observation
from fusionlib.measures.scaled_losses import scaled_losses
from fusionlib.measures.subsets import first_together
from fusionlib.measures.temperature_curve import TEMPERATURES, minimum_of


class EnsembleTemperatures:
    """Losses of the first 1, 2, ..., M networks together at each of `TEMPERATURES`, picture by picture.

    The logarithms of the mean probabilities are divided by T, as those of one network are by the measure `temperature`,
    whose figures the first row has. The calibrated log-likelihood follows from the states of single pictures, see
    `fusionlib.measures.calibrated_likelihood`.

    State, one row a size: `steps` (M, 21) int64, losses in steps of 2^-24 nats, `undefined` (M, 21) int64; `pixels` ()
    int64. Packed about 100 bytes a network.
    """

    title: ClassVar[str] = "Temperature by ensemble size"
    summary: ClassVar[str] = "T and loss at T of the first 1, 2, ..., M networks together: for calibrated likelihoods"
    source: ClassVar[str] = "Ashukha et al. 2020, section 3 (calibrated log-likelihood); Guo et al. 2017, section 4.2"
    version: ClassVar[int] = 1
    needs: ClassVar[Needs] = "masks"
    networks: ClassVar[Networks] = "set"
    grain: ClassVar[Grain] = "picture"
    always: ClassVar[bool] = False
    reads: ClassVar[frozenset[str]] = frozenset()
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure("size_temperature", "T", "", "", 3, "Logits of the ensemble are divided by it", "size"),
        Figure("size_nll_after", "NLL at T", "nats", "lower", 4, "Loss with T fitted on the same pictures", "size"),
    )

    def init(self, classes: int, device: torch.device, members: int = 2) -> State:
        """Zeros for `members` sizes."""
        shapes = {"steps": (members, len(TEMPERATURES)), "undefined": (members, len(TEMPERATURES)), "pixels": ()}
        return {name: torch.zeros(shape, dtype=torch.int64, device=device) for name, shape in shapes.items()}

    def update(self, state: State, *observations: Observation) -> None:
        """Add the labelled pixels. Raises `UsageError` for networks of different classes."""
        state["pixels"] += observations[0].pixels
        for place, seen in enumerate(first_together(observations)):
            steps, undefined = scaled_losses(seen, TEMPERATURES)
            state["steps"][place] += steps
            state["undefined"][place] += undefined

    def compute(self, state: State) -> dict[str, Any]:
        """`size_temperature` and `size_nll_after` by size; None where no pixel is labelled, or no T has a loss."""
        pixels = int(state["pixels"])
        lost = state["undefined"] > 0
        losses = (state["steps"].double() * UNIT / max(1, pixels)).masked_fill(lost, torch.inf).tolist()
        found = [minimum_of(row, TEMPERATURES) if pixels else None for row in losses]
        return {
            "size_temperature": [None if one is None else one.temperature for one in found],
            "size_nll_after": [None if one is None else one.loss for one in found],
        }


MEASURES.register("ensemble_temperatures")(EnsembleTemperatures())
