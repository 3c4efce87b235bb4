"""Cyclical stochastic gradient Langevin dynamics: snapshots with noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fusionlib.contracts import REGIMES, Point, Span, Training, parameter
from fusionlib.lab.regimes.sse import SnapshotEnsemble


@REGIMES.register("csgld")
@dataclass(frozen=True)
class CyclicalLangevin(SnapshotEnsemble):
    """The rate of SSE; where `mod(k - 1, C) / C >= beta` each update gets noise of variance `2 lr a T / N`.

    `a = 1 - momentum`, N is the number of training pictures (the loss is a mean), lr the step's own rate. T is counted
    in 1 / N: the public code's default of 1 / 50,000 for 50,000 pictures is 1 here, and N would be the posterior
    itself, with noise that is larger by the root of N.
    """

    title = "Cyclical SGLD"
    summary = "Cosine cycles that explore, then sample: noise in the last part of each"
    leaves = "snapshot-1 to snapshot-M; with more samples a cycle sample-1-1, sample-1-2, ... before each"
    helps = "Samples of a posterior, of several basins where the rate is high: ensembles rather than means"
    citation = "Zhang et al. 2020 (Cyclical Stochastic Gradient MCMC), algorithm 1"

    momentum: float = parameter(0.0, "Momentum, 1 - a", min=0.0, max=0.999, step=0.01)
    beta: float = parameter(0.8, "Share of a cycle that explores, without noise", min=0.0, max=1.0, step=0.05)
    temperature: float = parameter(
        1.0, "T in units of 1/N: 1 as the public code, N (pictures) for the posterior", min=0.0, max=1e9, step=1.0
    )
    samples: int = parameter(1, "Samples of a cycle, evenly over its last part", min=1, max=100, step=1)
    algorithm: str = parameter("sgd", "Its noise belongs to sgd", choices=("sgd",))

    def saved(self, span: Span) -> Sequence[int]:
        """Samples of each cycle, and its end."""
        cycle = self._cycle(span)
        due = dict.fromkeys(done for done in self._due(span) if 0 < done < cycle)
        return [begun + done for begun in range(0, span.steps, cycle) for done in (*due, cycle)]

    def after_step(self, training: Training) -> Sequence[Point]:
        """Noise; the network where a sample is due, and at the end of a cycle."""
        place = (training.step - 1) % self._cycle(training.span)
        if place >= self._exploring(training.span) and self.temperature:
            self._shake(training)
        return (*self._sampled(training, place + 1), *super().after_step(training))

    def noise(self, rate: float, pictures: int) -> float:
        """Its standard deviation at that rate."""
        return math.sqrt(2 * rate * (1 - self.momentum) * self.temperature) / pictures

    def _shake(self, training: Training) -> None:
        import torch

        scale = self.noise(self.rate(training.step - 1, training.span), training.span.pictures)
        random = training.generator(training.step)
        for tensor in training.parameters.values():
            tensor.add_(torch.randn(tensor.shape, generator=random, device=tensor.device), alpha=scale)

    def _sampled(self, training: Training, done: int) -> Sequence[Point]:
        """One of the samples before the end, `done` steps into a cycle."""
        cycle = self._cycle(training.span)
        due = self._due(training.span)
        if done not in due or done == cycle:
            return ()
        name = f"sample-{(training.step - 1) // cycle + 1}-{due.index(done) + 1}"
        return (Point(name, training.tensors(), "sample"),)

    def _due(self, span: Span) -> list[int]:
        """Steps of a cycle after which the samples before its end are taken."""
        cycle, explored = self._cycle(span), self._exploring(span)
        return [explored + (cycle - explored) * number // self.samples for number in range(1, self.samples)]

    def _exploring(self, span: Span) -> int:
        """Steps of a cycle before the first with noise."""
        cycle = self._cycle(span)
        return next((place for place in range(cycle) if place / cycle >= self.beta), cycle)
