"""How far a fine-tuning may go: several runs from one start, each of their epochs merged with the start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from fusionlib.candidate import between, single
from fusionlib.contracts import STUDIES, Study
from fusionlib.question import Known, Question, Step, figures_of, told_of
from fusionlib.recipe import Recipe, Source
from fusionlib.studies.candidates import SHOWN, Networks
from fusionlib.studies.curve import BASIC
from fusionlib.studies.grid import alpha_grid
from fusionlib.studies.points import STEP
from fusionlib.studies.search import Domains, Search
from fusionlib.studies.strategies.star import Star

START, EPOCH = 0, 1
"""Their places in the search of a ray: alpha is the weight of the start."""


@dataclass(frozen=True)
class Run:
    """A run from the start: its `name` (a learning rate, say), and its `epochs` in order, by name and file."""

    name: str
    epochs: tuple[tuple[str, Source], ...]
    mean: Recipe | None = None
    """The mean of the start and all epochs, as weight averaging has it; None where nobody asks for it."""


@STUDIES.register("rates")
@dataclass(frozen=True)
class Rates(Study):
    """The star strategy run by run: the start merged with each epoch of runs that differ in their first learning rate.

    `settings` are those of all merges, without their sources. Every epoch is a ray of its own, so that what is known of
    a run can be looked at before it is whole. `pictures` choose alpha and report it alike.
    """

    start: tuple[str, Source]
    runs: tuple[Run, ...]
    pictures: Domains
    settings: Mapping[str, Any] = field(default_factory=dict)
    step: float = STEP
    _asked: dict[tuple[int, int], tuple[Step, ...]] = field(default_factory=dict, compare=False, repr=False)

    title: ClassVar[str] = "Learning rates"
    summary: ClassVar[str] = "A start merged with every epoch of runs of several learning rates: fused, single, oracle"
    source: ClassVar[str] = "Weight Fusion, section 3.2, figures 3 to 5, and figure 8"
    version: ClassVar[int] = 1

    def steps(self, known: Known) -> Sequence[Step]:
        """Ray after ray, each as the strategy asks, then the means of the runs."""
        return list(self._steps(known))

    def later(self, known: Known) -> int:
        """Merges of rays that have only been asked for their oracle."""
        waiting = {
            self.runs[number].epochs[place][1].fingerprint
            for number, place in self.rays
            if len(self._of_ray((number, place), known)) == 1
        }
        return (len(self._alphas) - 2) * len(waiting)

    def table(self, known: Known) -> dict[str, Any]:
        """`start`, and of every one of `runs` its `epochs` with the five series, the `curve` over alpha, the `best`
        epoch and its `gain` over the start, and the `mean` of all. None: not known.
        """
        first = next(iter(self.rays.values()))
        start = first.figures(single(START, 2), self.pictures, known)
        return {
            "start": {"name": self.start[0], **_shown(start)},
            "runs": [self._run(number, run, start, known) for number, run in enumerate(self.runs)],
        }

    @cached_property
    def rays(self) -> Mapping[tuple[int, int], Search]:
        """The search of every epoch, by number of run and of epoch."""
        strategy = Star(start=START, step=self.step)
        return {
            (number, place): Search(
                strategy, Networks((self.start[1], source), **self.settings), self.pictures, self.pictures
            )
            for number, run in enumerate(self.runs)
            for place, (_, source) in enumerate(run.epochs)
        }

    def _steps(self, known: Known) -> Iterator[Step]:
        for number, place in self.rays:
            name = f"{self.runs[number].name}, {self.runs[number].epochs[place][0]}"
            yield from (step._replace(title=f"{name}: {step.title}") for step in self._of_ray((number, place), known))
        for run in self.runs:
            if run.mean is not None:
                yield Step(self._of_mean(run.mean), f"{run.name}: mean")

    def _of_ray(self, place: tuple[int, int], known: Known) -> Sequence[Step]:
        """What a ray asks for; it asks the same whatever is answered, so that a whole one need not be gone through
        again.
        """
        if place not in self._asked:
            search = self.rays[place]
            steps = tuple(search.steps(known))
            if search.asking(known).outcome is None:
                return steps
            self._asked[place] = steps
        return self._asked[place]

    def _of_mean(self, recipe: Recipe) -> tuple[Question, ...]:
        return tuple(Question((recipe,), self.pictures[0].key, name) for name in BASIC)

    def _run(self, number: int, run: Run, start: Mapping[str, Any] | None, known: Known) -> dict[str, Any]:
        epochs = [self._epoch((number, place), name, known) for place, (name, _) in enumerate(run.epochs)]
        fused = [one for one in epochs if one["fused"] is not None]
        best = max(fused, key=lambda one: one["fused"], default=None)
        gain = None if best is None or start is None or start["miou"] is None else best["fused"] - start["miou"]
        told = None if run.mean is None else told_of(self._of_mean(run.mean), known)
        return {
            "name": run.name,
            "epochs": epochs,
            "best": best and {name: best[name] for name in ("name", "alpha", "fused")},
            "gain": gain,
            "mean": _shown(None if told is None else figures_of(told)),
        }

    def _epoch(self, place: tuple[int, int], name: str, known: Known) -> dict[str, Any]:
        search, found = self.rays[place], {}
        outcome = search.asking(known).outcome
        if outcome is not None:
            (found,) = outcome.about["rays"]
        series = {one: found.get(one) for one in ("alpha", "fused", "single", "loss", "oracle")}
        points = {
            alpha: search.figures(between(alpha, START, EPOCH, 2), self.pictures, known) for alpha in self._alphas
        }
        curve = [{"alpha": alpha, "miou": one["miou"]} for alpha, one in points.items() if one is not None]
        return {"name": name, **series, "curve": curve}

    @cached_property
    def _alphas(self) -> tuple[float, ...]:
        return alpha_grid(self.step)


def _shown(figures: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: None if figures is None else figures[name] for name in SHOWN}
