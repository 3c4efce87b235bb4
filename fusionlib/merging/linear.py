"""Weight fusion: one weighted average of all tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from fusionlib.checkpoints.arena import Arena
from fusionlib.contracts import METHODS, MergeMethod, Mixture, parameter
from fusionlib.errors import UsageError
from fusionlib.merging.average import average_rows, check_shares


@METHODS.register("linear")
@dataclass(frozen=True)
class Linear(MergeMethod):
    """`theta = sum_i a_i theta_i`; for two checkpoints `theta = alpha A + (1 - alpha) B`, so alpha is the weight of the
    FIRST.

    Source: "Improving Predictive Performance and Calibration by Weight Fusion in Semantic Segmentation", section 2 and
    Listing 2. The listing also averages integer counters, which truncates them silently; here they follow the buffer
    policy.
    """

    title: ClassVar[str] = "Linear"
    summary: ClassVar[str] = "Weighted average of all tensors; for two checkpoints alpha A + (1 - alpha) B"
    citation: ClassVar[str] = "Weight Fusion, section 2, Listing 2"
    streams: ClassVar[bool] = True

    alpha: float = parameter(
        0.5, "Weight of the first checkpoint; the second gets the rest", min=0.0, max=1.0, step=0.01, said_by="weights"
    )
    weights: tuple[float, ...] = parameter((), "One weight per checkpoint, summing to 1; takes the place of alpha")

    @classmethod
    def defaults(cls, count: int) -> dict[str, Any]:
        """Half of each of two, equal weights for more."""
        return {"alpha": 0.5} if count == 2 else {"weights": [1 / count] * count}

    def shares(self, count: int) -> tuple[float, ...]:
        """The weight of each of `count` checkpoints.

        Raises `UsageError` where they cannot be told or do not sum to 1.
        """
        if self.weights:
            return check_shares(self.weights, count)
        if count == 2:
            return check_shares((self.alpha, 1.0 - self.alpha), 2)
        if count == 1:
            return (1.0,)
        raise UsageError(
            f"alpha for {count} checkpoints",
            "two checkpoints, or one weight for each",
            f"Give --weights with {count} numbers that sum to 1",
        )

    def __call__(self, arena: Arena, out: Tensor | None = None) -> Mixture:
        out = torch.empty_like(arena.weights[0]) if out is None else out
        average_rows(arena, self.shares(len(arena)), out)
        return Mixture(out[None], torch.ones(1))
