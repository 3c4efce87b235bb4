"""Fast geometric ensembling: a triangle a cycle, saved where the rate is lowest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusionlib.contracts import REGIMES, Point, Span, Training, parameter
from fusionlib.errors import UsageError
from fusionlib.lab.descent import Descent
from fusionlib.lab.schedule import triangle


@REGIMES.register("fge")
@dataclass(frozen=True)
class FastGeometricEnsembling(Descent):
    """The rate goes from `lr` to `low` and back within c steps; saved after step i with `mod(i, c) = c / 2`.

    The authors' condition saves at the ends of cycles too, where the rate is highest, and leaves those out of the
    ensemble: here they are not written.
    """

    title = "Fast geometric ensembling (FGE)"
    summary = "Short triangular cycles from a trained network, saved in the middle of each, where the rate is lowest"
    leaves = "member-1, member-2, ...: one a cycle"
    helps = "Many members of one basin from one trained network: cheap ensembles, and means that hold"
    citation = "Garipov et al. 2018, section 5"
    wants_start = True

    lr: float = parameter(0.05, "Highest rate", min=1e-9, max=10.0, step=0.01)
    low: float = parameter(5e-4, "Lowest rate", min=0.0, max=10.0, step=1e-4)
    cycle: int = parameter(2, "Epochs of a cycle", min=1, max=1000, step=1)

    def steps(self, span: Span) -> int:
        """Those of the epochs. Raises `UsageError` for a cycle without a middle step, and for less than half a one."""
        cycle = self._cycle(span)
        if cycle % 2:
            raise UsageError(
                f"A cycle of {cycle} steps ({self.cycle} epochs of {span.length})",
                "an even number of steps: a member is saved in the middle",
                "Choose an even cycle",
            )
        if span.asked < cycle // 2:
            raise UsageError(
                f"{span.epochs} epochs, and cycles of {self.cycle}",
                "half a cycle or more: a member is saved in the middle",
                "Raise --epochs, or lower cycle",
            )
        return span.asked

    def saved(self, span: Span) -> Sequence[int]:
        """The middles of the cycles."""
        cycle = self._cycle(span)
        return range(cycle // 2, span.steps + 1, cycle)

    def rate(self, step: int, span: Span) -> float:
        """The triangle."""
        return triangle(step, self._cycle(span), self.lr, self.low)

    def after_step(self, training: Training) -> Sequence[Point]:
        """The network in the middle of a cycle."""
        cycle = self._cycle(training.span)
        if training.step % cycle != cycle // 2:
            return ()
        return (Point(f"member-{training.step // cycle + 1}", training.tensors(), "member"),)

    def _cycle(self, span: Span) -> int:
        return self.cycle * span.length
