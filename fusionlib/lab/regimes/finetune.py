"""Fine-tuning: cosine cycles from a trained network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusionlib.contracts import REGIMES, Point, Span, Training, parameter
from fusionlib.errors import UsageError
from fusionlib.lab.descent import Scheduled, epoch_name
from fusionlib.lab.schedule import SCHEDULES


@REGIMES.register("finetune")
@dataclass(frozen=True)
class Finetune(Scheduled):
    """`lr / 2 (1 + cos(pi t / N))` in each of the cycles of N steps; the rate begins anew, momentum is kept."""

    title = "Fine-tuning"
    summary = "Cosine cycles from a trained network, a checkpoint an epoch"
    leaves = "epoch-001, epoch-002, ...; the last of each cycle has the role cycle"
    helps = "First choice: a start and its epochs lie in one basin, and their mean often beats both"
    citation = "Weight Fusion paper, sections 3.2 and 4.1"
    wants_start = True

    cycles: int = parameter(1, "Cycles in the run, each of the same number of epochs", min=1, max=1000, step=1)

    def steps(self, span: Span) -> int:
        """Those of the epochs. Raises `UsageError` where a cycle is no whole number of epochs."""
        if span.epochs % self.cycles:
            raise UsageError(
                f"{span.epochs} epochs in {self.cycles} cycles",
                "the same number of epochs in each cycle",
                f"Choose --epochs {-(-span.epochs // self.cycles) * self.cycles}, or another cycles",
            )
        return span.asked

    def rate(self, step: int, span: Span) -> float:
        """From `lr` to 0 in each cycle."""
        cycle = span.steps // self.cycles
        return self.lr * SCHEDULES[self.schedule](step % cycle, cycle)

    def after_epoch(self, training: Training) -> Sequence[Point]:
        """The network as it is."""
        ends = training.step % (training.span.steps // self.cycles) == 0
        return (Point(epoch_name(training), training.tensors(), "cycle" if ends else "epoch"),)
