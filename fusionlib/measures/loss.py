"""Mean negative log-likelihood of the annotation."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from fusionlib.contracts import MEASURES, Figure, Grain, Needs, Networks, State
from fusionlib.measures.observation import UNIT, Observation


class Loss:
    """Mean of -log p(true class) over the labelled pixels, in nats.

    State: `sum` () int64 in steps of 2^-24 nats (`observation.UNIT`), `pixels` () int64, `undefined` () int64 (NaN or
    infinite). A sum of whole numbers is, unlike one of floats, the same to the last bit in every order and split.
    """

    title: ClassVar[str] = "Cross-entropy"
    summary: ClassVar[str] = "Mean negative log-likelihood of the annotation, which also counts how sure a network is"
    source: ClassVar[str] = "mean negative log-likelihood in nats over labelled pixels"
    version: ClassVar[int] = 1
    needs: ClassVar[Needs] = "masks"
    networks: ClassVar[Networks] = "one"
    grain: ClassVar[Grain] = "picture"
    always: ClassVar[bool] = True
    reads: ClassVar[frozenset[str]] = frozenset()
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure("loss", "Loss", "nats", "lower", 4, "Mean negative log-likelihood of the true class"),
    )

    def init(self, classes: int, device: torch.device, members: int = 1) -> State:
        """Zeros."""
        return {name: torch.zeros((), dtype=torch.int64, device=device) for name in ("sum", "pixels", "undefined")}

    def update(self, state: State, *observations: Observation) -> None:
        """Add the labelled pixels."""
        (observation,) = observations
        loss = observation.loss
        state["sum"] += loss.steps
        state["pixels"] += observation.pixels
        state["undefined"] += loss.beyond

    def compute(self, state: State) -> dict[str, Any]:
        """`loss` in nats: None when no pixel is labelled or the network gave NaN or a probability of 0."""
        pixels, undefined = int(state["pixels"]), int(state["undefined"])
        mean = int(state["sum"]) * UNIT / pixels if pixels and not undefined else None
        return {"loss": mean, "undefined_pixels": undefined}


MEASURES.register("loss")(Loss())
