"""The bin of confidence of every pixel, picture by picture: where in the pictures a bin of calibration lies."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from fusionlib.contracts import MEASURES, Figure, Grain, Needs, Networks, State
from fusionlib.measures.bins import KEPT_BINS
from fusionlib.measures.calibration import usable_pixels
from fusionlib.measures.observation import Observation


class ConfidenceBins:
    """In which of the bins of the measure `calibration` every pixel lies, kept as a map.

    The map of a picture (H, W) uint8 is at the annotation's size: bin k of B = 60 is `[k / B, (k + 1) / B)` of the
    confidence in the predicted label, 1.0 in the last one; B where the pixel is void or a logit is NaN.

    State: `pixels` (B + 1,) int64, how many lie in which bin.
    """

    title: ClassVar[str] = "Bins of confidence"
    summary: ClassVar[str] = "Where in the pictures a bin of the reliability diagram lies"
    source: ClassVar[str] = "the bins of the measure calibration (Guo et al. 2017), pixel by pixel"
    version: ClassVar[int] = 1
    needs: ClassVar[Needs] = "masks"
    networks: ClassVar[Networks] = "one"
    grain: ClassVar[Grain] = "picture"
    always: ClassVar[bool] = False
    reads: ClassVar[frozenset[str]] = frozenset()
    figures: ClassVar[tuple[Figure, ...]] = (
        Figure("sure_share", "Surest bin", "%", "", 2, "Part of the labelled pixels with confidence 59/60 or more"),
    )

    def init(self, classes: int, device: torch.device, members: int = 1) -> State:
        """Zeros."""
        return {"pixels": torch.zeros(KEPT_BINS + 1, dtype=torch.int64, device=device)}

    def update(self, state: State, *observations: Observation) -> None:
        """Add all pixels. Raises `DataError` when the truth has an unknown id."""
        state["pixels"] += torch.bincount(self.map(*observations).reshape(-1), minlength=KEPT_BINS + 1)

    def map(self, *observations: Observation) -> torch.Tensor:
        """(N, H, W) uint8: bin of every pixel, 60 where it has none."""
        (observation,) = observations
        bins = (observation.label_confidence.double() * KEPT_BINS).long().clamp_(0, KEPT_BINS - 1)
        return torch.where(usable_pixels(observation), bins, KEPT_BINS).to(torch.uint8)

    def compute(self, state: State) -> dict[str, Any]:
        """`sure_share`, and `pixels_by_bin` (60)."""
        counts = state["pixels"].tolist()[:KEPT_BINS]
        return {"sure_share": counts[-1] / sum(counts) if sum(counts) else None, "pixels_by_bin": counts}


MEASURES.register("confidence_bins")(ConfidenceBins())
