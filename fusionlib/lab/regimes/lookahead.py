"""Lookahead: slow weights that follow fast ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusionlib.contracts import REGIMES, Point, Training, parameter
from fusionlib.lab.descent import Scheduled, epoch_name


@REGIMES.register("lookahead")
@dataclass(frozen=True)
class Lookahead(Scheduled):
    """`phi <- phi + a (theta - phi)`, then `theta <- phi`, every k steps; momentum is kept.

    Saved is phi as it was last, also where an epoch ends between two of its steps, with the running statistics of the
    fast network: those are not averaged.
    """

    title = "Lookahead"
    summary = "Slow weights that take a part of every k steps of the fast ones"
    leaves = "epoch-001, epoch-002, ...: the slow weights"
    helps = "A steadier single run; its epochs lie closer together than those of plain fine-tuning"
    citation = "Zhang et al. 2019 (Lookahead Optimizer), algorithm 1; lecture, Lookahead"

    period: int = parameter(5, "k, steps between two of the slow weights", min=1, max=10000, step=1)
    share: float = parameter(0.5, "a, which part they take; 1: the plain optimiser", min=0.0, max=1.0, step=0.05)

    def begin(self, training: Training) -> None:
        """phi is where the run begins."""
        training.memory["slow"] = {name: tensor.clone() for name, tensor in training.parameters.items()}

    def after_step(self, training: Training) -> Sequence[Point]:
        """A step of the slow weights, where it is due."""
        if training.step % self.period == 0:
            for name, slow in training.memory["slow"].items():
                slow.lerp_(training.parameters[name], self.share)
            training.set_parameters(training.memory["slow"])
        return ()

    def after_epoch(self, training: Training) -> Sequence[Point]:
        """The slow weights."""
        return (Point(epoch_name(training), training.tensors(training.memory["slow"]), "slow"),)
