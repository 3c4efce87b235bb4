"""SWAG: the mean of a run at a constant rate, its variance, and its last deviations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from fusionlib.contracts import REGIMES, START, Point, Span, Training, parameter
from fusionlib.errors import UsageError
from fusionlib.lab.descent import Descent


@REGIMES.register("swag")
@dataclass(frozen=True)
class Swag(Descent):
    """Running means of `w` and `w^2` in float64, and the last K deviations of `w` from the mean as it then was.

    A network is collected after each `every` epochs at a constant rate, the first deviation being 0. The variance that
    is kept is `mean(w^2) - mean(w)^2`, not the mean square itself, which would lose its digits in float32. The file is
    the mean, with running statistics of one pass over all training pictures; how it is sampled:
    `fusionlib.merging.posteriors.swag`.
    """

    title = "SWAG"
    summary = "The mean of a run at a constant rate, and a Gaussian of the networks around it"
    leaves = "swag, a posterior: its mean, which opens as any checkpoint, with variance and deviations"
    helps = "Better calibrated answers than the mean's where ten samples can be run; needs epochs to collect"
    citation = "Maddox et al. 2019 (SWAG), algorithm 1"
    wants_start = True

    lr: float = parameter(0.01, "Learning rate, constant", min=1e-9, max=10.0, step=0.001)
    every: int = parameter(1, "Epochs from one collected network to the next", min=1, max=1000, step=1)
    rank: int = parameter(5, "K, deviations kept, the last ones", min=2, max=1000, step=1)

    def steps(self, span: Span) -> int:
        """Those of the epochs. Raises `UsageError` where fewer than two networks are collected."""
        if span.epochs // self.every < 2:
            raise UsageError(
                f"{span.epochs} epochs, a network after each {self.every}",
                "two or more: one has no deviations",
                f"Choose --epochs {2 * self.every} or more",
            )
        return span.asked

    def closing(self, span: Span) -> int:
        """The pass that measures statistics."""
        return span.pass_batches

    def saved(self, span: Span) -> Sequence[int]:
        """The posterior."""
        return (span.steps,)

    def rate(self, step: int, span: Span) -> float:
        """The same throughout."""
        return self.lr

    def begin(self, training: Training) -> None:
        """Nothing has been collected."""
        training.memory["count"], training.memory["deviations"] = 0, []
        for name in ("mean", "square"):
            training.memory[name] = {name: tensor.double() * 0 for name, tensor in training.parameters.items()}

    def after_epoch(self, training: Training) -> Sequence[Point]:
        """The moments and the deviations take the network in, where it is its turn."""
        memory, count = training.memory, training.memory["count"]
        if training.step % (self.every * training.span.length):
            return ()
        deviations = {}
        for name, tensor in training.parameters.items():
            for moment, value in (("mean", tensor.double()), ("square", tensor.double().square())):
                memory[moment][name].mul_(count / (count + 1)).add_(value, alpha=1 / (count + 1))
            deviations[name] = (tensor.double() - memory["mean"][name]).to(tensor.dtype)
        memory["count"] = count + 1
        memory["deviations"] = [*memory["deviations"], deviations][-self.rank :]
        return ()

    def finish(self, training: Training) -> Sequence[Point]:
        """The posterior."""
        import torch

        from fusionlib.checkpoints.posterior import ABOUT, KIND, further
        from fusionlib.merging.posteriors.swag import DEVIATIONS, VARIANCE

        memory = training.memory
        tensors = training.tensors(memory["mean"])
        if training.normalised:
            tensors = training.recalibrated(tensors)
        variance = {
            name: (memory["square"][name] - mean.square()).clamp_(min=0).to("cpu", tensors[name].dtype)
            for name, mean in memory["mean"].items()
        }
        rows = {name: torch.stack([one[name] for one in memory["deviations"]]).cpu() for name in variance}
        about = {"collected": memory["count"], "kept": len(memory["deviations"])}
        tensors = {**tensors, **further(VARIANCE, variance), **further(DEVIATIONS, rows)}
        return (Point("swag", tensors, "posterior", (START,), {KIND: "swag", ABOUT: json.dumps(about)}),)
