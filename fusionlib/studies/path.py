"""Merges of some checkpoints along alpha, as recipes: what the points of a curve are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fusionlib.recipe import Calibration, Recipe, Source, checkpoint_alone


@dataclass(frozen=True)
class MergePath:
    """`alpha A + (1 - alpha) mean(others)` of `sources`, A being the first, with a buffer policy and a dtype.

    `calibration` names the pictures of the policy `recalibrate`.
    """

    sources: tuple[Source, ...]
    buffers: str = "average"
    dtype: str | None = None
    calibration: Calibration | None = None

    def shares(self, alpha: float) -> tuple[float, ...]:
        """The weight of each checkpoint."""
        others = len(self.sources) - 1
        return (alpha, *((1 - alpha) / others,) * others)

    def at(self, alpha: float) -> Recipe:
        """The merge at an alpha."""
        if len(self.sources) == 2:
            return self.merge("linear", {"alpha": alpha})
        return self.merge("linear", {"weights": list(self.shares(alpha))})

    def alone(self, number: int) -> Recipe:
        """A checkpoint as it is, with its own statistics."""
        return checkpoint_alone(self.sources[number])

    def ensemble(self, alpha: float) -> Recipe:
        """The networks as they are, answering together with the same weights."""
        return Recipe(method="ensemble", parameters={"weights": list(self.shares(alpha))}, checkpoints=self.sources)

    def merge(self, method: str, parameters: dict[str, Any]) -> Recipe:
        """Any merge of the same checkpoints with the same policy and dtype."""
        return Recipe(
            method=method,
            parameters=parameters,
            buffers=self.buffers,
            calibration=self.calibration,
            dtype=self.dtype,  # type: ignore[arg-type]
            checkpoints=self.sources,
        )
