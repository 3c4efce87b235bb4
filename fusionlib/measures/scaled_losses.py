"""What a network loses at several temperatures at once: logits divided by T, pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from fusionlib.measures.observation import LIMIT, Observation, fixed_sum

_PIXELS = 1 << 16
"""Worked on at a time, at every temperature: few enough for the processor's cache."""


def scaled_losses(observation: Observation, temperatures: Sequence[float]) -> tuple[torch.Tensor, torch.Tensor]:
    """`-log p(true class)` of `softmax(logits / T)` over the labelled pixels, as `Observation.loss` of those logits.

    Two tensors (temperatures,) int64: sums in steps of `UNIT`, and how many losses are not below `LIMIT`. A third of
    the time of as many observations: pixels without a label are left out, and all that is not asked for.
    """
    steps = torch.zeros(len(temperatures), dtype=torch.int64, device=observation.logits.device)
    beyond = torch.zeros_like(steps)
    logits = observation.logits.movedim(1, 0)[:, observation.valid]
    truth = observation.truth_ids[observation.valid].clamp_(max=observation.classes - 1)
    for scores, true in zip(logits.split(_PIXELS, 1), truth.split(_PIXELS), strict=True):
        apart = scores - scores.amax(0)
        groups = None if observation.mapping is None else list(_groups(apart, true, observation.mapping))
        for place, temperature in enumerate(temperatures):
            loss = (apart / temperature).exp_().sum(0).log_()
            if groups is None:
                loss -= apart.gather(0, true.unsqueeze(0))[0] / temperature
            else:
                for pixels, members in groups:
                    loss[pixels] -= (members / temperature).logsumexp(0)
            below = loss < LIMIT  # false for NaN too
            steps[place] += fixed_sum(loss, below)
            beyond[place] += (~below).sum()
    return steps, beyond


def _groups(
    scores: torch.Tensor, true: torch.Tensor, mapping: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Pixels of one true class, and the scores (k, pixels) of those of the network's classes that count as it."""
    for target in true.unique().tolist():
        pixels = torch.nonzero(true == target)[:, 0]
        yield pixels, scores[mapping == target][:, pixels]
