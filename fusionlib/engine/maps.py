"""From logits to what the browser draws: label, confidence and runner-up of every pixel, and how undecided it is."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from fusionlib.contracts import IGNORE
from fusionlib.measures.observation import Observation, first_maximum

BAND_PIXELS = 1 << 18
"""Pixels looked at in one go: what is made of the logits of a large picture takes several times their memory."""


def rows_of(height: int, width: int) -> Iterator[slice]:
    """Bands of rows from top to bottom; one where the picture is small."""
    step = max(1, BAND_PIXELS // width)
    for top in range(0, height, step):
        yield slice(top, top + step)


def bands(logits: Tensor, truth: Tensor, mapping: Tensor | None, classes: int) -> Iterator[Observation]:
    """What one picture shows, band by band."""
    for rows in rows_of(*logits.shape[-2:]):
        yield Observation(logits[:, :, rows], truth[:, rows], mapping, classes)


def pixel_maps(observation: Observation) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Label, confidence (0..255) and runner-up of the one picture, or band, of `observation`, each (H, W) uint8.

    Labels are ids of the target space, 255 where the prediction has no counterpart there. Confidence is the summed
    softmax probability of the network's classes that count as the label; the runner-up is the next best class of the
    target space.
    """
    scores = observation.target_probabilities
    labels = observation.predicted
    outside = labels == observation.classes
    index = labels.clamp(max=observation.classes - 1).unsqueeze(1)
    certain = torch.where(outside, observation.confidence, scores.gather(1, index).squeeze(1))
    others = (
        scores.scatter(1, index, -1.0) if not bool(outside.any()) else _without(scores, labels, observation.classes)
    )
    runner_up = first_maximum(others)[1]
    return _bytes(labels.masked_fill(outside, IGNORE)), _bytes(certain.mul(255).round_()), _bytes(runner_up)


def doubt_maps(observation: Observation) -> tuple[np.ndarray, np.ndarray]:
    """Entropy and margin of the one picture, or band, of `observation`, each (H, W) uint8, 255 for 1.

    Over the classes of the target space, and what has no counterpart there as one class more: entropy is
    `-sum_c p_c log p_c / log C` of these C classes, margin is the largest `p_c` minus the second largest. 0 and 1 where
    there is one class.
    """
    scores = observation.target_probabilities
    if observation.mapping is not None and bool((observation.mapping < 0).any()):
        scores = torch.cat([scores, (1 - scores.sum(1, keepdim=True)).clamp_(min=0)], 1)
    if scores.shape[1] == 1:
        return _bytes(torch.zeros_like(scores[:, 0])), _bytes(torch.full_like(scores[:, 0], 255))
    entropy = torch.special.entr(scores).sum(1).div_(math.log(scores.shape[1]))
    first, second = scores.topk(2, 1).values.unbind(1)
    return tuple(_bytes(values.clamp_(0, 1).mul_(255).round_()) for values in (entropy, first - second))  # type: ignore[return-value]


def _without(scores: Tensor, labels: Tensor, classes: int) -> Tensor:
    """`scores` with each pixel's own label struck out; a label outside the space strikes nothing."""
    struck = torch.cat([scores, torch.full_like(scores[:, :1], -1.0)], 1).scatter_(1, labels.unsqueeze(1), -1.0)
    return struck[:, :classes]


def _bytes(values: Tensor) -> np.ndarray:
    return values[0].to(torch.uint8).cpu().numpy()
