"""The diagonal Fisher information of a network, estimated on unlabelled pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from fusionlib.contracts import STATISTICS, LoadedNetwork, Progress, Subject
from fusionlib.errors import CheckpointError, UsageError

EXACT_LIMIT = 1024
"""Backward passes a picture for the exact expectation: one for every class of every pixel."""


class FisherInformation:
    """The mean of `picture_information` over pictures, each with a generator of its own seeded by its number."""

    title: ClassVar = "Fisher information"
    summary: ClassVar = "How much a network's predictions depend on each of its parameters"
    source: ClassVar = "Matena and Raffel 2022, Merging Models with Fisher-Weighted Averaging, section 3"
    version: ClassVar = 1
    needs: ClassVar = "pictures"
    grain: ClassVar = "checkpoint"
    options: ClassVar = ("labels", "seed")
    cost: ClassVar = 6  # measured with ENet at 480x360 on two cores: 6 to 8

    def estimate(self, subject: Subject, options: Mapping[str, Any], progress: Progress) -> dict[str, Tensor]:
        """`information` (P,) float32. Sums are float64."""
        network, labels, seed = subject.network(0), options["labels"], options["seed"]
        total = torch.zeros_like(network.flat, dtype=torch.float64)
        for done, (number, image) in enumerate(subject.pictures):
            progress(done, subject.count)
            total += subject.run(
                lambda image=image, number=number: picture_information(network, image, labels, seeded(seed, number))
            )
        progress(subject.count, subject.count)
        return {"information": (total / subject.count).to(network.flat.dtype).cpu()}


def picture_information(network: LoadedNetwork, image: np.ndarray, labels: str, generator: torch.Generator) -> Tensor:
    """Fisher information (P,) float32 of one picture (H, W, 3) uint8, per pixel of the network's output; 0 at running
    statistics.

    `F_k = 1/S sum_s E_(y ~ p_s) (d log p_s(y) / d theta_k)^2` over the S output pixels, in evaluation mode.

    `sampled` draws one label for every pixel and squares the gradient of the whole picture, `1/S (d sum_s log p_s(y_s)
    / d theta_k)^2`. Labels are drawn independently and each pixel's score has mean zero, so the cross terms vanish in
    expectation: the estimate is unbiased but noisy, one backward pass a picture. `exact` takes the expectation itself,
    a backward pass for every class of every pixel. The labels are those that the network itself predicts, never the
    truth (which would be the empirical Fisher).

    Raises: `UsageError` where `exact` would need more than `EXACT_LIMIT` passes, `CheckpointError` where the network
    answers with NaN.
    """
    leaf = network.flat.detach().clone().requires_grad_()
    with torch.enable_grad():
        scores = network.differentiable(leaf, image[None]).log_softmax(1)[0].flatten(1).T  # (S, C)
    if not bool(torch.isfinite(scores).all()):
        raise CheckpointError(
            "The network answers with NaN or infinity, which has no Fisher information",
            "weights that run in float32",
            "Look at this checkpoint's masks; use an earlier epoch, or leave it out",
        )
    if labels == "exact":
        return _exact(scores, leaf)
    probabilities = scores.detach().exp().cpu()
    drawn = torch.multinomial(probabilities, 1, generator=generator).to(scores.device)
    return torch.autograd.grad(scores.gather(1, drawn).sum(), leaf)[0].square_().div_(len(scores))


def _exact(scores: Tensor, leaf: Tensor) -> Tensor:
    if scores.numel() > EXACT_LIMIT:
        raise UsageError(
            f"Exact Fisher information of {len(scores)} pixels with {scores.shape[1]} classes",
            f"at most {EXACT_LIMIT} together",
            "Set labels=sampled, or use much smaller pictures",
        )
    total = torch.zeros_like(leaf, requires_grad=False)
    for pixel in range(scores.shape[0]):
        for label in range(scores.shape[1]):
            score = scores[pixel, label]
            (gradient,) = torch.autograd.grad(score, leaf, retain_graph=True)
            total += score.detach().exp() * gradient.square()
    return total / len(scores)


def seeded(seed: int, number: int) -> torch.Generator:
    """The generator of picture `number`: independent of how many came before it."""
    return torch.Generator().manual_seed((seed << 20) + number)


STATISTICS.register("fisher")(FisherInformation())
