"""Stochastic weight averaging: the mean of the ends of cycles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusionlib.contracts import REGIMES, START, Point, Span, Training, parameter
from fusionlib.errors import UsageError
from fusionlib.lab.descent import Descent
from fusionlib.lab.schedule import cosine


@REGIMES.register("swa")
@dataclass(frozen=True)
class StochasticWeightAveraging(Descent):
    """`swa <- swa n / (n + 1) + w / (n + 1)` at the end of each cycle, in float64; statistics measured anew at the end.

    Parameters are averaged. Running statistics are those of one pass over all training pictures, augmented as in
    training; other buffers and counters are the last cycle's. The authors keep a rate that is constant but for its
    beginning; this is the one of the Weight Fusion paper, cosine cycles.
    """

    title = "SWA"
    summary = "The mean of the networks at the ends of cosine cycles, with running statistics measured anew"
    leaves = "cycle-01, cycle-02, ... and swa, their mean"
    helps = "One network better than any cycle, where the cycles stay in one basin; needs no choice of weights"
    citation = "Izmailov et al. 2018, algorithm 1; Weight Fusion paper, section 4.1"
    wants_start = True

    lr: float = parameter(0.005, "Learning rate at the beginning of a cycle", min=1e-9, max=10.0, step=0.001)
    cycle: int = parameter(1, "Epochs of a cycle", min=1, max=1000, step=1)
    with_start: bool = parameter(False, "The start is one of those averaged, as in the Weight Fusion paper")

    def steps(self, span: Span) -> int:
        """Those of the epochs. Raises `UsageError` where they are no whole number of cycles."""
        if span.epochs % self.cycle:
            raise UsageError(
                f"{span.epochs} epochs in cycles of {self.cycle}",
                "a whole number of cycles",
                f"Choose --epochs {-(-span.epochs // self.cycle) * self.cycle}, or another cycle",
            )
        return span.asked

    def closing(self, span: Span) -> int:
        """The pass that measures statistics."""
        return span.pass_batches

    def saved(self, span: Span) -> Sequence[int]:
        """The ends of the cycles, and the mean."""
        cycle = self.cycle * span.length
        return *range(cycle, span.steps + 1, cycle), span.steps

    def rate(self, step: int, span: Span) -> float:
        """`lr / 2 (1 + cos(pi t / N))` in each cycle of N steps."""
        cycle = self.cycle * span.length
        return self.lr * cosine(step % cycle, cycle)

    def begin(self, training: Training) -> None:
        """Nothing has been averaged, or the start."""
        training.memory["count"] = int(self.with_start)
        training.memory["mean"] = {name: tensor.double() for name, tensor in training.parameters.items()}

    def after_epoch(self, training: Training) -> Sequence[Point]:
        """The network at the end of a cycle, which the mean takes in."""
        cycles, rest = divmod(training.step, self.cycle * training.span.length)
        if rest:
            return ()
        count = training.memory["count"]
        for name, tensor in training.parameters.items():
            mean = training.memory["mean"][name]
            mean.mul_(count / (count + 1)).add_(tensor.double(), alpha=1 / (count + 1))
        training.memory["count"] = count + 1
        return (Point(_name(cycles), training.tensors(), "cycle"),)

    def finish(self, training: Training) -> Sequence[Point]:
        """The mean."""
        tensors = training.tensors(training.memory["mean"])
        if training.normalised:
            tensors = training.recalibrated(tensors)
        cycles = training.span.epochs // self.cycle
        parents = (*((START,) if self.with_start else ()), *map(_name, range(1, cycles + 1)))
        return (Point("swa", tensors, "mean", parents),)


def _name(cycles: int) -> str:
    return f"cycle-{cycles:02d}"
