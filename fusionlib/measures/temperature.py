"""Temperature scaling: the one number that makes a network less sure, or surer, without changing what it says."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from fusionlib.contracts import MEASURES, Figure, Grain, Needs, Networks, State
from fusionlib.measures.observation import UNIT, Observation
from fusionlib.measures.scaled_losses import scaled_losses
from fusionlib.measures.temperature_curve import TEMPERATURES, minimum_of


class TemperatureFit:
    """The T that minimises the negative log-likelihood of `softmax(logits / T)` over the labelled pixels.

    State: `steps` (21,) int64, the losses at each of `TEMPERATURES` in steps of 2^-24 nats, `undefined` (21,) int64 and
    `pixels` () int64. Sums by picture: the fit of every subset of pictures is arithmetic. Costs one forward pass and 21
    softmaxes a picture. Where label spaces are mapped the likelihood is that of the annotation's classes.

    Source: Guo et al. 2017 ("On Calibration of Modern Neural Networks"), section 4.2; fitted there by LBFGS, which
    needs all logits in memory. Here the minimum is that of the polynomial through the five losses around the lowest, in
    log T.
    """

    title: ClassVar[str] = "Temperature"
    summary: ClassVar[str] = "The T by which logits are divided for the best likelihood: above 1 a network is too sure"
    source: ClassVar[str] = "Guo et al. 2017, section 4.2"
    version: ClassVar[int] = 1
    needs: ClassVar[Needs] = "masks"
    networks: ClassVar[Networks] = "one"
    grain: ClassVar[Grain] = "picture"
    always: ClassVar[bool] = False
    reads: ClassVar[frozenset[str]] = frozenset()
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure("temperature", "T", "", "", 3, "Logits are divided by it; 1: as sure as it should be"),
        Figure("nll_before", "NLL at T = 1", "nats", "lower", 4, "Mean negative log-likelihood as the network is"),
        Figure("nll_after", "NLL at T", "nats", "lower", 4, "The same with the fitted temperature"),
    )

    def init(self, classes: int, device: torch.device, members: int = 1) -> State:
        """Zeros."""
        shapes = {"steps": (len(TEMPERATURES),), "undefined": (len(TEMPERATURES),), "pixels": ()}
        return {name: torch.zeros(shape, dtype=torch.int64, device=device) for name, shape in shapes.items()}

    def update(self, state: State, *observations: Observation) -> None:
        """Add the labelled pixels."""
        (observation,) = observations
        steps, undefined = scaled_losses(observation, TEMPERATURES)
        state["pixels"] += observation.pixels
        state["steps"] += steps
        state["undefined"] += undefined

    def compute(self, state: State) -> dict[str, Any]:
        """`temperature`, `nll_before`, `nll_after` (None: undefined), `at_limit` (the best T lies at an end of the
        range), and all `losses` as [T, nats].
        """
        pixels = int(state["pixels"])
        sums = zip(TEMPERATURES, state["steps"].tolist(), state["undefined"].tolist(), strict=True)
        losses = [[t, steps * UNIT / pixels] for t, steps, undefined in sums if pixels and not undefined]
        before = next((loss for t, loss in losses if t == 1.0), None)
        found = minimum_of([loss for _, loss in losses], [t for t, _ in losses])
        return {
            "temperature": None if found is None else found.temperature,
            "nll_before": before,
            "nll_after": None if found is None else found.loss,
            "at_limit": found is not None and found.at_limit,
            "losses": losses,
        }


MEASURES.register("temperature")(TemperatureFit())
