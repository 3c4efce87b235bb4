"""Mean negative log-likelihood of the annotation."""

from __future__ import annotations

from typing import Any

import torch

from fusionlib.contracts import METERS
from fusionlib.measures.observation import Observation

_UNIT = 2.0**-24
"""Nats per step of the fixed-point sum. int64 then holds 5.5e11 nats: a million-pixel picture at 1 nat 550,000
times.
"""

_LIMIT = 2.0**24
"""Pixels at or above this many nats (and NaN, infinity) are counted as undefined instead of being summed."""


class CrossEntropyMeter:
    """Mean of -log p(true class) over the labelled pixels, in nats.

    Each pixel is rounded to a multiple of 2^-24 nats (at most 3e-8 off, below float32's own rounding at 1 nat) and
    the sum is an integer. Unlike a float64 sum it is the same to the last bit in every order and every split.

    State: `sum` () int64 in units of 2^-24 nats, `pixels` () int64, `undefined` () int64 (NaN or infinite).
    """

    title = "Cross-entropy"
    version = 1
    source = "mean negative log-likelihood in nats over labelled pixels"

    def init(self, classes: int, device: torch.device) -> dict[str, torch.Tensor]:
        """Zeros."""
        return {name: torch.zeros((), dtype=torch.int64, device=device) for name in ("sum", "pixels", "undefined")}

    def update(self, state: dict[str, torch.Tensor], observation: Observation) -> None:
        """Add the labelled pixels of one batch; void has log p = 0 and adds nothing."""
        loss = -observation.truth_log_probability
        usable = loss < _LIMIT  # false for NaN too
        state["sum"] += torch.where(usable, loss, 0.0).div_(_UNIT).round_().sum(dtype=torch.int64)
        state["pixels"] += observation.valid.sum()
        state["undefined"] += (~usable).sum()

    def compute(self, state: dict[str, torch.Tensor]) -> dict[str, Any]:
        """`cross_entropy` in nats: None when no pixel is labelled or the network gave NaN or a probability of 0."""
        pixels, undefined = int(state["pixels"]), int(state["undefined"])
        mean = int(state["sum"]) * _UNIT / pixels if pixels and not undefined else None
        return {"cross_entropy": mean, "undefined_pixels": undefined}


METERS.register("cross_entropy")(CrossEntropyMeter())
