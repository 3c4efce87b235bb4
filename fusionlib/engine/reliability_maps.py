"""Where in a picture the pixels of a confidence bin are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from fusionlib.contracts import IGNORE
from fusionlib.measures.bins import KEPT_BINS
from fusionlib.measures.observation import Observation


@dataclass(frozen=True)
class ReliabilityMaps:
    """Maps (H, W) of one picture: `bins` uint8, the kept bin of the confidence (255 void); `labels` uint8 predicted ids
    (C: outside); `right` bool.
    """

    bins: np.ndarray
    labels: np.ndarray
    right: np.ndarray

    @property
    def bytes(self) -> int:
        """What the maps take."""
        return self.bins.nbytes + self.labels.nbytes + self.right.nbytes

    def chosen(self, bins: int, number: int, label: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Masks (H, W) of the right and of the wrong pixels in bin `number` of `bins`, of those predicted as `label` if
        given.
        """
        share = KEPT_BINS // bins
        inside = (self.bins >= number * share) & (self.bins < (number + 1) * share)
        if label is not None:
            inside &= self.labels == label
        return inside & self.right, inside & ~self.right


def reliability_maps(observations: Iterable[Observation]) -> ReliabilityMaps:
    """The maps of one picture out of its `bands`, with the bins of the calibration meter."""
    return ReliabilityMaps(*(np.concatenate(parts) for parts in zip(*map(_maps, observations), strict=True)))


def _maps(observation: Observation) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    bins = (observation.label_confidence.double() * KEPT_BINS).long().clamp_(0, KEPT_BINS - 1)
    known = observation.valid & (observation.label_confidence > 0)
    right = observation.predicted == observation.truth_ids
    return (
        torch.where(known, bins, IGNORE)[0].to(torch.uint8).cpu().numpy(),
        observation.predicted[0].to(torch.uint8).cpu().numpy(),
        right[0].cpu().numpy(),
    )
