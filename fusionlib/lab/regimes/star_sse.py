"""StarSSE: snapshots that all begin at the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusionlib.contracts import REGIMES, Point, Span, Training, parameter
from fusionlib.lab.descent import Descent
from fusionlib.lab.schedule import cosine

FIRST = "snapshot-1"


@REGIMES.register("star-sse")
@dataclass(frozen=True)
class StarSnapshotEnsemble(Descent):
    """Snapshot 1 by one cosine over all epochs, then K children from it, with its running statistics.

    Each child has a fresh optimiser, a rate of `lr_ratio lr` and `epoch_ratio` times the epochs. The authors change the
    rate from epoch to epoch, this from step to step.
    """

    title = "StarSSE"
    summary = "One snapshot, then K children that all begin at it"
    leaves = "snapshot-1 and child-1 to child-K"
    helps = "Where the later snapshots of SSE drift away: children stay around the first, fit for ensembles and soups"
    citation = "Sadrtdinov et al. 2023, section 6; lecture, StarSSE"
    wants_start = True

    lr: float = parameter(0.05, "Rate at which snapshot 1 begins", min=1e-9, max=10.0, step=0.01)
    children: int = parameter(3, "K, children of snapshot 1", min=1, max=100, step=1)
    lr_ratio: float = parameter(1.0, "Rate of the children, in that of snapshot 1", min=0.001, max=100.0, step=0.25)
    epoch_ratio: float = parameter(1.0, "Epochs of a child, in those of snapshot 1", min=0.001, max=100.0, step=0.25)
    apart: int = parameter(
        1, "How far the seeds of neighbours lie apart; 0 makes all children the same", min=0, max=1000
    )

    def steps(self, span: Span) -> int:
        """Those of snapshot 1 and of all children."""
        return span.asked + self.children * self._child_epochs(span) * span.length

    def saved(self, span: Span) -> Sequence[int]:
        """Snapshot 1, then each child at its end."""
        return range(span.asked, span.steps + 1, self._child_epochs(span) * span.length)

    def order(self, epoch: int, span: Span) -> tuple[int, int]:
        """Each child begins with its epoch 0."""
        if epoch < span.epochs:
            return 0, epoch
        child, own = divmod(epoch - span.epochs, self._child_epochs(span))
        return self.apart * (child + 1), own

    def rate(self, step: int, span: Span) -> float:
        """One cosine each."""
        if step < span.asked:
            return self.lr * cosine(step, span.asked)
        child = self._child_epochs(span) * span.length
        return self.lr_ratio * self.lr * cosine((step - span.asked) % child, child)

    def after_epoch(self, training: Training) -> Sequence[Point]:
        """Snapshot 1, then each child at its end."""
        span = training.span
        if training.step < span.asked:
            return ()
        children, rest = divmod(training.step - span.asked, self._child_epochs(span) * span.length)
        if rest:
            return ()
        if not children:
            training.memory["snapshot"] = training.tensors()
            point = Point(FIRST, training.tensors(), "snapshot")
        else:
            point = Point(f"child-{children}", training.tensors(), "child", (FIRST,))
        training.restart(training.memory["snapshot"])
        return (point,)

    def _child_epochs(self, span: Span) -> int:
        return max(1, round(self.epoch_ratio * span.epochs))
