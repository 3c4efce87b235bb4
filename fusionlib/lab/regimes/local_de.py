"""Local deep ensembles: several runs from one start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusionlib.contracts import REGIMES, START, Point, Span, Training, parameter
from fusionlib.lab.descent import Descent
from fusionlib.lab.schedule import cosine


@REGIMES.register("local-de")
@dataclass(frozen=True)
class LocalDeepEnsemble(Descent):
    """K runs of all epochs from the same tensors, each with a fresh optimiser and batches of its own seed."""

    title = "Local deep ensemble"
    summary = "K runs from one start with K seeds"
    leaves = "member-1 to member-K"
    helps = "Members of one basin that differ by their seeds alone: for soups, and as the measure for cheaper ones"
    citation = "Sadrtdinov et al. 2023 (To Stay or Not to Stay in the Pre-train Basin), section 3; lecture, Local DE"
    wants_start = True

    members: int = parameter(3, "K, runs; each takes all the epochs", min=1, max=100, step=1)
    apart: int = parameter(1, "How far the seeds of neighbours lie apart; 0 makes all runs the same", min=0, max=1000)

    def steps(self, span: Span) -> int:
        """K times those of the epochs."""
        return self.members * span.asked

    def saved(self, span: Span) -> Sequence[int]:
        """The ends of the runs."""
        return range(span.asked, span.steps + 1, span.asked)

    def order(self, epoch: int, span: Span) -> tuple[int, int]:
        """Each run begins with its epoch 0."""
        return self.apart * (epoch // span.epochs), epoch % span.epochs

    def rate(self, step: int, span: Span) -> float:
        """One cosine a run."""
        return self.lr * cosine(step % span.asked, span.asked)

    def begin(self, training: Training) -> None:
        """Keep what all begin at."""
        training.memory["start"] = training.tensors()

    def after_epoch(self, training: Training) -> Sequence[Point]:
        """The network at the end of a run; the next begins."""
        runs, rest = divmod(training.step, training.span.asked)
        if rest:
            return ()
        point = Point(f"member-{runs}", training.tensors(), "member", (START,))
        training.restart(training.memory["start"])
        return (point,)
