"""Fitting a KFAC-Laplace posterior to a network at the end of its training."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from fusionlib.architectures.modules import methods_of_torch
from fusionlib.checkpoints.posterior import PosteriorFile
from fusionlib.checkpoints.stored import Held
from fusionlib.contracts import IGNORE, Training
from fusionlib.errors import UsageError
from fusionlib.lab.curvature import Curvature, sampled_gradient
from fusionlib.merging.draws import deviations
from fusionlib.merging.posteriors.kfac import DIAGONAL, EXAMPLES, FISHER, TAU

TAUS = (1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6)
"""What is tried for the precision of the prior."""

Parts = Mapping[str, Mapping[str, Tensor]]


def fitted(training: Training, widest: int, examples: str) -> tuple[Parts, dict[str, Any]]:
    """Factors over all training pictures, one at a time, and the numbers of the posterior but for tau.

    `examples` are what N counts: pictures, or their labelled pixels.
    """
    curvature, number, pixels = Curvature(training.network, widest), 0, 0
    with methods_of_torch(training.network):
        training.network.eval()
    try:
        with curvature.watching():
            for batch in training.pictures():
                for image, truth in zip(batch.images, batch.truths, strict=True):
                    labelled = torch.from_numpy(truth != IGNORE)
                    number += 1
                    pixels += int(labelled.sum())
                    if labelled.any():
                        logits = training.logits(image[None])
                        random = training.generator(training.step, number)
                        gradient = sampled_gradient(logits, labelled.to(logits.device), random)
                        curvature.add(logits, [(gradient, 1.0)])
    finally:
        with methods_of_torch(training.network):
            training.network.train()
    parts = curvature.tensors()
    count = pixels if examples == "pixels" else curvature.pictures
    return parts, {EXAMPLES: max(1, int(count)), DIAGONAL: sorted(parts[FISHER])}


def chosen(training: Training, parts: Parts, about: Mapping[str, Any], trials: int) -> dict[str, float | None]:
    """Mean negative log-likelihood (nats a labelled pixel) of `trials` samples together, by tau, on the selection.

    The same random numbers for every tau; probabilities are averaged as an ensemble's are. None where an answer is no
    number: that far from the mean a network may overflow.
    """
    found: dict[str, float | None] = {}
    for tau in TAUS:
        networks = _drawn(training, parts, {**about, TAU: tau}, trials)
        total, pixels = 0.0, 0
        for batch in training.selection():
            there = torch.from_numpy(batch.truths != IGNORE)
            if not there.any():
                continue
            answers = [training.probabilities(network, batch.images) for network in networks]
            mean = torch.stack(answers).mean(0)
            truth = torch.from_numpy(batch.truths).long().to(mean.device)
            right = mean.gather(1, truth.where(truth != IGNORE, 0)[:, None])[:, 0]
            total -= float(right.clamp_min(torch.finfo(right.dtype).tiny).log().double()[there.to(mean.device)].sum())
            pixels += int(there.sum())
        found[f"{tau:g}"] = total / max(1, pixels) if math.isfinite(total) else None
    return found


def best(losses: Mapping[str, float | None]) -> float:
    """The tau of the least. Raises `UsageError` where none is a number."""
    known = {tau: loss for tau, loss in losses.items() if loss is not None}
    if not known:
        raise UsageError(
            f"No tau from {TAUS[0]:g} to {TAUS[-1]:g} gives answers that are numbers",
            "a precision that keeps samples near the network",
            "Set tau to more, as --set tau=1e8",
        )
    return float(min(known, key=known.__getitem__))


def _drawn(training: Training, parts: Parts, about: Mapping[str, Any], trials: int) -> Sequence[dict[str, Tensor]]:
    mean = training.parameters
    shapes = {name: tuple(tensor.shape) for name, tensor in mean.items()}
    held = {part: {name: Held(tensor) for name, tensor in tensors.items()} for part, tensors in parts.items()}
    file = PosteriorFile("this run", "kfac", json.dumps(about), held, shapes)
    networks = [{name: tensor.clone() for name, tensor in mean.items()} for _ in range(trials)]
    for name, drawn in deviations(file, training.seed, trials):
        for network, row in zip(networks, drawn, strict=True):
            network[name].add_(row.to(network[name]))
    return networks
