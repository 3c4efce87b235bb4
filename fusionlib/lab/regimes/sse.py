"""Snapshot ensembles: a cosine cycle a snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusionlib.contracts import REGIMES, Point, Span, Training, parameter
from fusionlib.lab.descent import Descent
from fusionlib.lab.schedule import cosine


@REGIMES.register("sse")
@dataclass(frozen=True)
class SnapshotEnsemble(Descent):
    """`lr / 2 (cos(pi mod(t - 1, C) / C) + 1)` with cycles of `C = ceil(T / M)` steps; T is rounded up to M cycles."""

    title = "Snapshot ensemble (SSE)"
    summary = "M cosine cycles from a high rate to 0, a snapshot at the end of each"
    leaves = "snapshot-1 to snapshot-M"
    helps = "An ensemble for the price of one run; a high rate makes snapshots differ, and less fit to be averaged"
    citation = "Huang et al. 2017 (Snapshot Ensembles), equation 2; lecture, SSE"

    lr: float = parameter(0.2, "Rate at the beginning of a cycle", min=1e-9, max=10.0, step=0.01, from_start=0.02)
    snapshots: int = parameter(3, "M, cycles and snapshots", min=1, max=1000, step=1)

    def steps(self, span: Span) -> int:
        """`M ceil(T / M)`."""
        return -(-span.asked // self.snapshots) * self.snapshots

    def saved(self, span: Span) -> Sequence[int]:
        """The ends of the cycles."""
        cycle = self._cycle(span)
        return range(cycle, span.steps + 1, cycle)

    def rate(self, step: int, span: Span) -> float:
        """From `lr` towards 0 in each cycle."""
        cycle = self._cycle(span)
        return self.lr * cosine(step % cycle, cycle)

    def after_step(self, training: Training) -> Sequence[Point]:
        """The network at the end of a cycle."""
        cycles, rest = divmod(training.step, self._cycle(training.span))
        return () if rest else (Point(f"snapshot-{cycles}", training.tensors(), "snapshot"),)

    def _cycle(self, span: Span) -> int:
        return span.steps // self.snapshots
